"""A row of what was measured, and how rows are shown: a table for people, JSON lines for a log."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from eval_hooks.json_text import json_text
from tests.benchmarks.cells import markdown
from tests.benchmarks.machine import machine

Value = float | int | str | None
Numbers = Mapping[str, Value]
"""Name, with its unit, -> value; None where it cannot be had."""
NOTE, FAILED = "note", "failed"
"""Why there is no number: a finding of its own (out of memory, not installed), or a fault of this program's."""
MEMORY = ("out of memory", "Out of memory", "not enough memory")


@dataclass(frozen=True, kw_only=True)
class Row:
    """One measurement."""

    part: str
    case: str
    """What was measured, and how it was set."""
    numbers: Numbers

    @property
    def line(self) -> str:
        """The row as one line of JSON, with the machine."""
        return json_text({"part": self.part, "case": self.case, "machine": machine(), **self.numbers})


def measured(part: str, case: str, measure: Callable[[], Numbers]) -> Row:
    """What `measure` gives. Whatever it raises becomes the row's, so that the other rows of a rented card are had."""
    from trainers.models import forget

    try:
        numbers = measure()
    except Exception as error:
        numbers = failure(error)
    forget()  # outside the handler, which keeps the frames, and so the model, of what was raised
    return Row(part=part, case=case, numbers=numbers)


def failure(error: Exception) -> Numbers:
    """What stands in place of numbers; that something does not fit a card is a finding."""
    said = " ".join(f"{type(error).__name__}: {error}".split())[:300]
    return {NOTE if any(word in said for word in MEMORY) else FAILED: said}


def table(rows: Sequence[Row]) -> str:
    """Rows of one part as a Markdown table: a column for each number that any of them has."""
    names = list(dict.fromkeys(name for row in rows for name in row.numbers))
    return markdown(("case", *names), ((row.case, *(shown(row.numbers.get(name)) for name in names)) for row in rows))


def shown(value: Value) -> str:
    """Three digits of a small number, thousands of a large one."""
    if value is None:
        return "-"
    if isinstance(value, str | int):
        return value if isinstance(value, str) else f"{value:,}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
