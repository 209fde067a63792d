"""Plain text: files or a folder, a row a line, a paragraph or a file."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import groupby, islice
from pathlib import Path
from random import Random
from typing import Any, Literal

from data_mix.bad_rows import BadRowError, Resumable, Row
from data_mix.silence import blank
from data_mix.sources.files import matching, raw_lines, unreadable, whole


@dataclass(frozen=True, kw_only=True)
class Text:
    """Which text, cut how."""

    path: str
    """A .txt or .txt.gz file, a folder of them, or a glob."""
    per: Literal["line", "paragraph", "file"] = "line"
    """What one row is; blank ones are left out."""
    n: int | None = None
    """At most this many rows, the first ones."""


def rows(cfg: Text, rng: Random) -> Iterator[dict[str, Any]]:
    """Rows {text}."""
    return Resumable(islice((row for file in matching(cfg.path, "txt") for row in _rows(file, cfg.per)), cfg.n))


def _rows(file: Path, per: str) -> Iterator[Row | BadRowError]:
    for number, text in PIECES[per](file):
        where = f"{file}:{number}"
        if problem := unreadable(text):
            yield BadRowError(where, problem)
        elif not blank(text):
            yield Row({"text": text.strip()}, where)


def paragraphs(text: str) -> Iterator[tuple[int, str]]:
    """(first line, text) of what stands between lines that show nothing."""
    for empty, together in groupby(enumerate(text.split("\n"), 1), lambda one: blank(one[1])):
        if not empty:
            numbers, lines = zip(*together, strict=True)
            yield numbers[0], "\n".join(lines)


PIECES: dict[str, Callable[[Path], Iterator[tuple[int, str]]]] = {
    "line": lambda file: enumerate(raw_lines(file), 1),
    "paragraph": lambda file: paragraphs(whole(file)),
    "file": lambda file: iter([(1, whole(file))]),
}
"""(first line, text) of a file's pieces."""
