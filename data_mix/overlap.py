"""Whether texts stand in other texts: word for word, or but for case, punctuation and spaces."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

ENOUGH = 8
"""Words from which a text says by itself what it is about; a shorter one ("Which is true?") may stand anywhere."""
ANSWERS = ("completion", "chosen", "rejected", "answer")
"""Columns that answer the row's prompt."""


def normal(text: str) -> str:
    """What is left of a text that somebody reformatted: its words in lower case, single spaces between them."""
    return " ".join(re.findall(r"\w+", unicodedata.normalize("NFKC", text).casefold()))


def texts_of(row: Mapping[str, Any]) -> list[str]:
    """Every text that somebody wrote in a row in TRL's columns, in order; system messages are left out."""
    return [text for column in ("messages", "prompt", *ANSWERS, "text") for text in _texts(row.get(column))]


def question_of(row: Mapping[str, Any]) -> str:
    """What a row asks: its prompt, or all that is not the assistant's; of plain text the whole."""
    if "text" in row:
        return str(row["text"])
    asked = row["messages"] if "messages" in row else row["prompt"]
    return "\n".join([asked] if isinstance(asked, str) else _texts([m for m in asked if m["role"] != "assistant"]))


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if not isinstance(value, Sequence):
        return []
    messages = [one for one in value if not isinstance(one, str)]  # several gold answers are texts
    texts = [message["content"] for message in messages if message["role"] != "system" and message.get("content")]
    return texts + [one for one in value if isinstance(one, str)]


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A text to look for."""

    name: str
    """What a match is reported as."""
    text: str
    answer: str = ""
    """What must stand in the same row where the text is too short to tell."""


@dataclass(frozen=True, kw_only=True)
class Match:
    """A wanted text that was found."""

    wanted: Wanted
    how: str
    """exact, normalised (a text of the row is it, but for case, punctuation and spaces) or inside (a part of one)."""


class Finder:
    """Finds wanted texts in rows, in time that grows with the rows' length only."""

    def __init__(self, wanted: Iterable[Wanted]) -> None:
        self.exact: dict[str, list[Wanted]] = defaultdict(list)
        self.normal: dict[str, list[Wanted]] = defaultdict(list)
        self.beginnings: dict[tuple[str, ...], list[tuple[list[str], Wanted]]] = defaultdict(list)
        for one in wanted:
            words = normal(one.text).split()
            if not words:
                continue
            self.exact[one.text.strip()].append(one)
            self.normal[" ".join(words)].append(one)
            if len(words) >= ENOUGH:
                self.beginnings[tuple(words[:ENOUGH])].append((words, one))

    def find(self, texts: Sequence[str]) -> list[Match]:
        """The wanted texts in a row's texts; each once, in the strongest way it was found."""
        found: dict[str, Match] = {}
        whole = f" {normal(' '.join(texts))} "
        for match in (match for text in texts for match in self._in(text)):
            short = len(normal(match.wanted.text).split()) < ENOUGH
            if not short or (match.wanted.answer and f" {normal(match.wanted.answer)} " in whole):
                found.setdefault(match.wanted.name, match)
        return list(found.values())

    def _in(self, text: str) -> Iterator[Match]:
        words = normal(text).split()
        for how, there in (("exact", self.exact.get(text.strip())), ("normalised", self.normal.get(" ".join(words)))):
            yield from (Match(wanted=one, how=how) for one in there or ())
        for at in range(len(words) - ENOUGH + 1):
            for wanted, one in self.beginnings.get(tuple(words[at : at + ENOUGH]), ()):
                if words[at : at + len(wanted)] == wanted:
                    yield Match(wanted=one, how="inside")
