"""What the looks of one evaluation in waves say together: bounds, intervals, a decision, and the change without bias.

The intervals of all looks hold together (repeated confidence intervals: Jennison, Turnbull 1989, JRSS B 51:305), so the
one at which looking ends holds however it came to end. They speak of these very items, of which those not yet scored
are unknown: not of items like these.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from eval_hooks.retention.orders import first_look
from eval_hooks.retention.sequential import bound
from eval_hooks.retention.spending import ALPHA
from eval_hooks.retention.strata import Change

Decision = Literal["excluded", "proven", "undecided"]


def decide(interval: tuple[float, float], allowed: float) -> Decision:
    """Whether a loss of more than `allowed` is excluded, proven, or neither."""
    return "excluded" if interval[0] > -allowed else "proven" if interval[1] < -allowed else "undecided"


class Seen:
    """The looks so far. `shares` are those of alpha that each look spends; they add up to 1."""

    def __init__(self, shares: Sequence[float]) -> None:
        self.shares = shares
        self.looks: list[Change] = []
        self._bounds: dict[float, list[float]] = {}

    def add(self, found: Change) -> None:
        """A look before everything is scored."""
        self.looks.append(found)

    def bounds(self, alpha: float) -> np.ndarray:
        """Bound of each look, as z: together crossed wrongly with probability alpha. None is changed once it was used.

        The information of all looks is taken from the flips known at the newest.
        """
        found = self._bounds.setdefault(alpha, [])
        for k in range(len(found), len(self.looks)):
            information = 1 / self.looks[k].variance(self._scored(k + 1))
            found.append(bound(information, np.array(found), alpha * self.shares[k]) if alpha else np.inf)
        return np.array(found)

    def interval(self, alpha: float) -> tuple[float, float]:
        """Of the change, at the newest look; it holds together with those of all others in 1 - alpha."""
        found = self.looks[-1]
        half = float(self.bounds(alpha)[-1]) * found.se
        return max(-1.0, found.value - half), min(1.0, found.value + half)

    def value(self, allowed: float, alpha: float) -> float:
        """The change, where looking goes on until a loss of more than `allowed` is decided at alpha.

        The newest estimate is too far from the limit on average, since that is what ended the looking.
        """
        found = first_look(self.looks, self.bounds(alpha)[:-1], allowed)
        return float(np.clip(found, *self.interval(ALPHA)))

    def _scored(self, looks: int) -> np.ndarray:
        """Items of each stratum at the first looks, (looks, H)."""
        return np.array([look.scored for look in self.looks[:looks]])
