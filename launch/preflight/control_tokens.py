"""Control tokens in what somebody wrote: a text that ends its own turn and begins another one is read as two turns."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from launch.findings import Finding, bad, does_not_apply, ok, warn
from launch.preflight.subject import Subject

COLUMNS = ("messages", "prompt", "completion", "chosen", "rejected")
SHOWN = 3
"""Places that are named."""


def check(subject: Subject) -> list[Finding]:
    """One finding a source, over all its rows."""
    train, validation = subject.parts
    marks = marks_of(subject.tokenizer)
    return [finding(part.spec.name, part.raw, subject.tokenizer, marks) for part in (*train, *validation)]


def marks_of(tokenizer: Any) -> re.Pattern[str] | None:
    """What the tokenizer reads as one special token, and what the template puts around a user's turn."""
    tokens = [re.escape(token.content) for token in tokenizer.added_tokens_decoder.values() if token.special]
    lines = [mark for mark in turn_marks(tokenizer) if len(mark) > 2 and not mark.isalnum()]
    headers = [("(?m:^[ \\t]*)" if mark[0].isalpha() else "") + re.escape(mark) for mark in lines]
    found = sorted({*tokens, *headers}, key=len, reverse=True)
    return re.compile("|".join(found)) if found else None


def turn_marks(tokenizer: Any) -> list[str]:
    """The line before a user's words, and the last line behind them, where the template writes any."""
    from trainers.template import plain_question

    if not isinstance(tokenizer.chat_template, str):
        return []
    text = plain_question(tokenizer, tokenizer.chat_template, answered=True) or ""
    before, found, behind = text.partition("question")
    sides = (before.removeprefix(tokenizer.bos_token or ""), behind) if found else ()
    return [side.strip().splitlines()[-1].strip() for side in sides if side.strip()]


def finding(name: str, rows: list[dict[str, Any]], tokenizer: Any, marks: re.Pattern[str] | None) -> Finding:
    """How many rows have any, where the first ones stand. In plain text they may be meant."""
    if marks is None or all("text" in row for row in rows):
        return does_not_apply(f"{name}: no turns, or no control tokens")
    hits: list[tuple[int, str, bool]] = []
    for number, row in enumerate(rows, 1):
        match = next(((place, plain, hit[0]) for place, plain, text in written(row, tokenizer.eos_token or "")
                      if (hit := marks.search(text))), None)  # fmt: skip
        if match:
            hits.append((number, f"{match[2].strip()!r} in {match[0]} of row {number}", match[1]))
    if not hits:
        return ok(f"{name}: no text of {len(rows):,} rows has a control token in it")
    places = "; ".join(place for _, place, _ in hits[:SHOWN]) + (" and more" if len(hits) > SHOWN else "")
    text = f"{name}: {len(hits):,} of {len(rows):,} rows have control tokens in their texts: {places}"
    if all(plain for _, _, plain in hits):
        return warn(text, "right where the text is a rendered conversation; else write messages without them")
    return bad(text, "it would be read as a turn of its own: take the token out of the text, or the row out")


def written(row: Mapping[str, Any], end: str) -> Iterator[tuple[str, bool, str]]:
    """(place, whether it is plain text, text) of all that a row says; a completion may end with the end token."""
    for column in COLUMNS:
        said = row.get(column)
        if isinstance(said, str):
            yield column, True, said.removesuffix(end)
        for i, message in enumerate(said if isinstance(said, list) else (), 1):
            yield f"{column} {i} ({message['role']})", False, message.get("content") or ""
