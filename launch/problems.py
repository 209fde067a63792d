"""What is wrong with a recipe: collected, then shown all at once."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from eval_hooks.masking import masked, masked_message

MOST = 200
"""Problems that are shown: a file of another kind has one a line."""


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One thing to change."""

    path: str = ""
    """Dotted path of the key, as in `data.train.0.n`; empty where the file as a whole is meant."""
    place: str = ""
    """`file:line`, or `command line`."""
    text: str
    """The value and the remedy."""
    row: str = ""
    """The name of a table's row that there is not; a plugin might bring it."""

    def __str__(self) -> str:
        return ": ".join(part for part in (self.place, self.path, self.text) if part)


class RecipeError(ValueError):
    """A recipe or a command line is wrong; each problem has its path, the value and the remedy, one a line."""

    def __init__(self, problems: str | Problem | Sequence[Problem]) -> None:
        if isinstance(problems, str):
            problems = Problem(text=problems)
        self.problems = [problems] if isinstance(problems, Problem) else list(problems)
        more = len(self.problems) - MOST
        lines = [*map(str, self.problems[:MOST]), *([f"and {more:,} more"] if more > 0 else [])]
        super().__init__(masked_message("\n".join(lines)))


def nearest(name: str, known: Iterable[str], few: int = 30) -> str:
    """The end of a sentence about an unknown name: the nearest known one, or all where they are few, or nothing."""
    names = sorted(set(known))
    close = get_close_matches(name, names, n=1) or get_close_matches(
        name.casefold(), [other for other in names if other.casefold() == name.casefold()], n=1
    )
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; there is: {', '.join(names)}" if names and len(names) <= few else ""


def shown(value: object, width: int = 60) -> str:
    """A value as a message shows it: without secrets, cut where it is long."""
    text = repr(masked(value))
    return text if len(text) <= width else text[: width - 4] + " ..."
