"""A cell of the operating characteristics: how often a word is wrong, and how often it may be."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One rate of the judge's on one law of made tables."""

    part: str
    case: str
    what: str
    rate: float
    bound: float
    side: Literal["at most", "at least"] = "at most"
    error: float = 0.0
    """Standard error of the rate; 0 where it was summed over all outcomes and not drawn."""
    old: float | None = None
    """The same rate of the rule of before (tests/eval_hooks/old_rules.py)."""
    old_fails: bool = False
    """The rule of before is known to fail here, so it must."""

    def holds(self, rate: float) -> bool:
        """Whether a rate is inside the bound, four standard errors allowed where there are any."""
        sign = 1 if self.side == "at most" else -1
        return sign * rate <= sign * self.bound + 4 * self.error

    @property
    def trouble(self) -> str:
        """What is wrong with this cell; empty where nothing is."""
        if not self.holds(self.rate):
            return "out of its bound"
        if self.old_fails and (self.old is None or self.holds(self.old)):
            return "the old rule passes it, so it shows nothing"
        return ""


def markdown(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def table_of(cells: Iterable[Cell]) -> str:
    """Cells as a Markdown table, rates in percent."""
    return markdown(
        ("part", "case", "what", "bound, %", "rate, %", "old rule, %", ""),
        (
            (cell.part, cell.case, cell.what, f"{cell.side} {100 * cell.bound:.4g}", percent(cell.rate),
             "" if cell.old is None else percent(cell.old), cell.trouble)
            for cell in cells
        ),
    )  # fmt: skip


def percent(rate: float) -> str:
    """2.54."""
    return f"{100 * rate:.2f}"
