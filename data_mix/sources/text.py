"""Plain text: files or a folder, a row a line, a paragraph or a file."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby, islice
from pathlib import Path
from random import Random
from typing import Literal

from data_mix.sources.files import lines, matching, whole

BLANK = re.compile(r"[\s\u200b-\u200d\u2060\ufeff]*")
"""What shows nothing: white space of every kind, and characters without a width."""


@dataclass(frozen=True, kw_only=True)
class Text:
    """Which text, cut how."""

    path: str
    """A .txt or .txt.gz file, a folder of them, or a glob."""
    per: Literal["line", "paragraph", "file"] = "line"
    """What one row is; blank ones are left out."""
    n: int | None = None
    """At most this many rows, the first ones."""


def rows(cfg: Text, rng: Random) -> Iterator[dict[str, str]]:
    """Rows {text}."""
    texts = (text.strip() for file in matching(cfg.path, "txt") for text in _pieces(file, cfg.per))
    return islice(({"text": text} for text in texts if not is_blank(text)), cfg.n)


def _pieces(file: Path, per: str) -> Iterator[str]:
    if per == "line":
        yield from (line for _, line in lines(file))
    else:
        yield from paragraphs(whole(file)) if per == "paragraph" else [whole(file)]


def paragraphs(text: str) -> Iterator[str]:
    """What stands between lines that show nothing."""
    for blank, together in groupby(text.split("\n"), is_blank):
        if not blank:
            yield "\n".join(together)


def is_blank(text: str) -> bool:
    """Whether a text shows nothing."""
    return BLANK.fullmatch(text) is not None
