"""The noise floor of the arithmetic: what flips when the same weights are asked again, and a verdict must be beyond.

A sum over another batch, or on another rank, rounds otherwise, and an item whose gold option and best other one lie
close enough comes out differently. So the base is scored twice, the closest items first. Where f items flipped, another
pass flips at most u, u the largest with

    P(Bin(f + u, 1/2) <= f) > alpha / 2

(the conditional limit for a second Poisson count: Nelson 1982, Applied Life Data Analysis, section 6.4), and never more
than the items that are close enough at all. `dropped` needs more than u items lost, `gained` more than u gained: then
not even arithmetic that rounds every close item to one side explains the word. Worked by hand: f = 0 gives u = 5, since
2^-5 = .03125 > .025 and 2^-6 is below; where no item is close enough, as mostly in fp32, u = 0.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
from scipy.stats import binom

from eval_hooks.estimate import Estimate
from eval_hooks.retention.strata import signed_margins
from eval_hooks.table import column, noted

FIRST = 200
"""Items scored twice, those with the smallest margins; twice as many while the next one is still close enough."""
SAFE = 2.0
"""A margin so many times the largest change of one that was seen is out of the arithmetic's reach."""


@dataclass(frozen=True, kw_only=True)
class Noise:
    """What a second scoring of the same weights gave."""

    flips: int
    """Items right in one and wrong in the other."""
    twice: int
    """Items scored twice."""
    close: int
    """Items whose margin the arithmetic can turn."""

    def most(self, alpha: float) -> int:
        """Items that another pass may flip, more in alpha / 2 of cases at most; all that are close at alpha 0."""
        most = self.flips
        while most < self.close and binom.cdf(self.flips, self.flips + most + 1, 0.5) > alpha / 2:
            most += 1
        return most

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for a table's note and a summary."""
        return asdict(self)


def measured(table: pa.Table, again: Callable[[Sequence[int]], pa.Table]) -> Noise:
    """The noise of a choice table's arithmetic; `again` scores items, by their numbers in order, in other batches."""
    margin = np.abs(signed_margins(table))
    nearest = np.argsort(margin, kind="stable")
    flips, reach, done = 0, 0.0, 0
    while done < len(nearest) and (not done or margin[nearest[done]] < reach):
        items = np.sort(nearest[done : max(FIRST, 2 * done)])
        first, second = table.take(items), again(items.tolist())
        moved = np.abs(signed_margins(first) - signed_margins(second))
        flips += int((column(first, "correct") != column(second, "correct")).sum())
        reach, done = max(reach, SAFE * float(moved.max())), done + len(items)
    close = max(flips, int((margin < reach).sum()))
    return Noise(flips=flips, twice=done, close=close)


def noise_of(table: pa.Table) -> Noise | None:
    """The note of a base that was scored twice; None if it was scored once."""
    text = noted(table, "noise")
    return None if text is None else Noise(**json.loads(text))


def louder(*found: Mapping[str, Any] | None) -> Noise | None:
    """Of several notes, as a summary holds them, the one with most flips; None where there is none."""
    notes = [Noise(**one) for one in found if one]
    return max(notes, key=lambda noise: (noise.flips, noise.close), default=None)


def beyond(change: Estimate, lost: int, gained: int, most: int) -> Estimate:
    """The interval with 0 inside unless more than `most` items were lost, or gained."""
    if change.low is None or change.high is None:
        return change
    low = min(change.low, 0.0) if gained <= most else change.low
    high = max(change.high, 0.0) if lost <= most else change.high
    if (low, high) == (change.low, change.high):
        return change
    return replace(change, low=low, high=high, method=f"{change.method}; up to {most} flips may be the arithmetic's")
