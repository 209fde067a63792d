"""Where two evaluations of a task were asked otherwise: the first place, with what stands around it on both sides."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from os.path import commonprefix
from typing import Any

import pyarrow as pa

AROUND = 40
"""Characters that are shown before and after the first one that differs."""


@dataclass(frozen=True, kw_only=True)
class Prompts:
    """What is known of a task's prompts."""

    where: str
    """What a message calls this side, as a folder."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    first: str = ""
    """The first one; all that is kept of those with options."""
    ids: tuple[str, ...] = ()
    """Of the items, in order; empty where they are not known."""
    texts: Mapping[str, str] = field(default_factory=dict)
    """Item -> prompt."""
    tokens: Mapping[str, int] = field(default_factory=dict)
    """Item -> length of its prompt."""
    golds: Mapping[str, str] = field(default_factory=dict)
    """Item -> the free answer that is right."""


def of_entry(where: str, entry: Mapping[str, Any], table: pa.Table | None) -> Prompts:
    """Those of an evaluation on disk: a summary's entry and, where it can be read, the task's table."""
    settings = {key: entry.get(key) for key in ("variant", "shots")}
    first = entry.get("first_prompt") or ""
    if table is None:
        return Prompts(where=where, settings=settings, first=first)
    ids = tuple(table.column("item_id").to_pylist())

    def column(name: str) -> dict[str, Any]:
        found = table.column(name).to_pylist() if name in table.column_names else []
        return {item: value for item, value in zip(ids, found, strict=False) if value is not None}

    written = "prompt" in table.column_names
    texts, golds = (column("prompt"), column("gold")) if written else ({}, {})
    return Prompts(
        where=where, settings=settings, first=first, ids=ids, texts=texts, tokens=column("prompt_tokens"), golds=golds
    )


def difference(a: Prompts, b: Prompts) -> str:
    """In words, what differs first of each kind: settings, items, prompts, right answers."""
    found = [*_settings(a, b), *_items(a, b), *(_texts(a, b) or _lengths(a, b)), *_golds(a, b)]
    return "; ".join(found) or "what is kept of the prompts is alike: options, their tokens or max_new_tokens differ"


def _settings(a: Prompts, b: Prompts) -> Iterator[str]:
    for key in a.settings:
        if a.settings[key] != b.settings.get(key):
            yield f"{key} {a.settings[key]} in {a.where}, {b.settings.get(key)} in {b.where}"


def _items(a: Prompts, b: Prompts) -> Iterator[str]:
    if not (a.ids and b.ids) or a.ids == b.ids:
        return
    if len(a.ids) != len(b.ids):
        yield f"{len(a.ids):,} items in {a.where}, {len(b.ids):,} in {b.where}"
    number = len(commonprefix([a.ids, b.ids]))
    if number < min(len(a.ids), len(b.ids)):
        yield f"item {number + 1} is {a.ids[number]} in {a.where}, {b.ids[number]} in {b.where}"


def _texts(a: Prompts, b: Prompts) -> list[str]:
    """The first item whose prompt differs; the first prompts where no more is known of one side."""
    for item, text in a.texts.items():
        if item in b.texts and text != b.texts[item]:
            return [_apart(f"item {item}", a, b, text, b.texts[item])]
    if a.first and b.first and a.first != b.first:
        same = a.ids[:1] == b.ids[:1] != ()
        return [_apart(f"item {a.ids[0]}" if same else "the first prompt", a, b, a.first, b.first)]
    return []


def _lengths(a: Prompts, b: Prompts) -> list[str]:
    for item, length in a.tokens.items():
        if item in b.tokens and length != b.tokens[item]:
            return [f"the prompt of item {item} has {length} tokens in {a.where}, {b.tokens[item]} in {b.where}"]
    return []


def _golds(a: Prompts, b: Prompts) -> list[str]:
    for item, gold in a.golds.items():
        if item in b.golds and gold != b.golds[item]:
            return [_apart(f"the right answer of item {item}", a, b, gold, b.golds[item])]
    return []


def _apart(what: str, a: Prompts, b: Prompts, one: str, other: str) -> str:
    at = len(commonprefix([one, other]))
    return f"{what} from character {at + 1} on: {_around(one, at)} in {a.where}, {_around(other, at)} in {b.where}"


def _around(text: str, at: int) -> str:
    """The text around a place, as Python writes it: line ends and what cannot be seen are visible."""
    begin, end = max(0, at - AROUND), at + AROUND
    return ("..." if begin else "") + repr(text[begin:end]) + ("..." if end < len(text) else "")
