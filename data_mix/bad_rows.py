"""Rows that know where they stand, and those among them that cannot be used: counted by reason, named together."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from data_mix import DataError

FIRST = 3
"""Places of a reason, and reasons, that a message names."""
MOST = 100
"""Reasons that are told apart; a file that is something else altogether has one a line."""
OTHER = "other reasons"
VALUES = re.compile(r"\([^()]*\)|'[^']*'|\"[^\"]*\"|\[[^\[\]]*\]|\d+(?:,\d{3})*")
"""What differs between two rows that are bad for one reason."""


class Row(dict[str, Any]):
    """A row, and where it stands."""

    def __init__(self, values: Mapping[str, Any] | Iterable[tuple[str, Any]] = (), where: str = "") -> None:
        super().__init__(values)
        self.where = where
        """file:line as an editor counts them, or the number of the row in its source; for messages."""


def place_of(row: Mapping[str, Any]) -> str:
    """Where a row stands; empty for one that does not know."""
    return row.where if isinstance(row, Row) else ""


class BadRowError(DataError):
    """One row cannot be used; those after it can be read."""

    def __init__(self, where: str, reason: str) -> None:
        super().__init__(f"{where}: {reason}")
        self.where, self.reason = where, reason

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.where, self.reason)


class Resumable(Iterator[Row]):
    """Rows one after another; a bad one is raised, and the next one comes when asked again."""

    def __init__(self, found: Iterator[Row | BadRowError]) -> None:
        self.found = found

    def __next__(self) -> Row:
        one = next(self.found)
        if isinstance(one, BadRowError):
            raise one
        return one


@dataclass
class Reason:
    """Rows that are bad for one reason."""

    example: str
    """The first one's message, with its values and its remedy."""
    n: int = 0
    places: list[str] = field(default_factory=list)
    """The first ones' places."""


@dataclass
class BadRows:
    """The bad rows of a source."""

    name: str
    """The source's, for messages."""
    reasons: dict[str, Reason] = field(default_factory=dict)
    """Reason without a row's own values -> what was seen of it."""

    @property
    def total(self) -> int:
        """Bad rows."""
        return sum(reason.n for reason in self.reasons.values())

    @property
    def counts(self) -> dict[str, int]:
        """Reason -> rows."""
        return {reason: seen.n for reason, seen in self.reasons.items()}

    @property
    def places(self) -> dict[str, list[str]]:
        """Reason -> places of its first rows."""
        return {reason: seen.places for reason, seen in self.reasons.items()}

    def add(self, where: str, text: str) -> None:
        """One more; its message may begin with its place."""
        said = text.removeprefix(where).lstrip(": ")
        kind = " ".join(VALUES.sub("…", said).partition("; ")[0].split())
        kind = kind if kind in self.reasons or len(self.reasons) < MOST else OTHER
        reason = self.reasons.setdefault(kind, Reason(example=said))
        reason.n += 1
        if len(reason.places) < FIRST:
            reason.places.append(where)

    def message(self, read: int) -> str:
        """All of them, `read` rows having been looked at: how many for which reason, with the first places of each."""
        if self.total == 1:
            (only,) = self.reasons.values()
            return f"{only.places[0]}: {only.example}{_advice(1, read)}"
        most = sorted(self.reasons.values(), key=lambda reason: -reason.n)
        told = " · ".join(f"{_together(reason)}: {reason.example[:300]}" for reason in most[:FIRST])
        more = sum(reason.n for reason in most[FIRST:])
        rest = f" · and {more:,} for {len(most) - FIRST} other reasons" if more else ""
        return (
            f"data source {self.name}: {self.total:,} of {read:,} rows cannot be used: {told}{rest}"
            f"{_advice(self.total, read)}"
        )


def refuse(found: Iterable[tuple[BadRows, int]]) -> None:
    """Raise DataError with the bad rows of all sources, where there are any; each with the rows that were read."""
    if said := [bad.message(read) for bad, read in found if bad.total]:
        raise DataError("\n".join(said))


def _advice(bad: int, read: int) -> str:
    """How to go on without them, where anything would be left."""
    return f" (data.bad_rows: drop leaves {'it' if bad == 1 else 'them'} out)" if bad < read else ""


def _together(reason: Reason) -> str:
    """`a.jsonl:3 and at 17, 40 and 12 more`: a file is named once where its rows follow each other."""
    said, before = reason.places[0], _split(reason.places[0])[0]
    for number, place in enumerate(reason.places[1:]):
        head, tail = _split(place)
        said += (" and at " if not number else ", ") + (tail if head == before else place)
        before = head
    more = reason.n - len(reason.places)
    return f"{reason.n:,} rows, {said}" + (f" and {more:,} more" if more else "") if reason.n > 1 else said


def _split(place: str) -> tuple[str, str]:
    found = re.fullmatch(r"(.*\D)(\d+)", place, re.DOTALL)
    return (found[1], found[2]) if found else (place, place)
