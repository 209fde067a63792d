"""The descriptions of the Python packages installed here, as their authors wrote them for the package index.

Prose about many things that every machine has: general text beside the documentation of Python, to hold out and to
replay. Splits share no package. Rows depend on what is installed, which the manifest's sha256 shows.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import distributions
from itertools import islice
from random import Random

from data_mix import DataError
from data_mix.splits import Split, split_of_name

MARKUP = ("[![", "![", "<", "|", ".. ", ":", "---", "===", "```")
"""How lines begin that are badges, tables or directives rather than prose."""


@dataclass(frozen=True, kw_only=True)
class Readmes:
    """Which packages' descriptions."""

    split: Split = "train"
    """No package is in two splits: eight tenths train, one validation, one test, by a hash of its name."""
    n: int | None = None
    """At most this many rows, drawn at random; default all."""
    seed: int = 0
    min_chars: int = 200
    """Shorter pieces are left out."""
    max_chars: int = 1500
    """A longer description becomes several rows, cut between paragraphs."""

    def __post_init__(self) -> None:
        """Refuse a number of rows that is none."""
        if self.n is not None and self.n < 1:
            raise ValueError(f"n must be above 0, got {self.n}")


def rows(cfg: Readmes, rng: Random) -> Iterator[dict[str, str]]:
    """Rows {text, package}: a piece of a description's prose.

    Raises DataError where no installed package has one.
    """
    named = {d.metadata["Name"].lower(): d.metadata for d in distributions() if d.metadata["Name"]}
    found = [
        {"text": text, "package": name}
        for name in sorted(named)
        if split_of_name(name) == cfg.split
        for text in pieces(prose(str(named[name].json.get("description") or "")), cfg.max_chars)
        if len(text) >= cfg.min_chars
    ]
    if not found:
        raise DataError("source readmes: no installed package has a description; use another source of general text")
    Random(f"readmes/{cfg.split}/{cfg.seed}").shuffle(found)
    return islice(iter(found), cfg.n)


def prose(description: str) -> str:
    """A description without the lines that are markup; paragraphs stay apart."""
    lines = [line.rstrip() for line in description.splitlines() if not line.strip().startswith(MARKUP)]
    paragraphs = "\n".join(lines).split("\n\n")
    return "\n\n".join(text for text in (paragraph.strip() for paragraph in paragraphs) if text)


def pieces(text: str, longest: int) -> Iterator[str]:
    """Whole paragraphs together, up to a length; one that is longer alone stays alone."""
    piece = ""
    for paragraph in text.split("\n\n"):
        if piece and len(piece) + 2 + len(paragraph) > longest:
            yield piece
            piece = ""
        piece = f"{piece}\n\n{paragraph}" if piece else paragraph
    yield piece
