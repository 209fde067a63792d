"""Forgetting and backward transfer adjusted for guessing, and answers that moved from one wrong one to another.

Harmon et al. 2025, arXiv:2510.17776: of n items a share x was right before and wrong after (forgetting), a share y
wrong before and right after (backward transfer); what guessing alone would give is taken off both. A model knows an
item or guesses evenly among k options, so where 1 - a of the items are wrong, (1 - a) / (k - 1) are right by guessing.
With 1 - a wrong before and 1 - b after, right by guessing in one and wrong in the other are by chance

    c = (1 - a) (1 - b) / (k - 1)        forgetting = max(0, x - c)        backward transfer = max(0, y - c)

where what is known before and what is known after are independent, which accuracies cannot tell. Worked by hand: 100
items of 4 options, 60 right before, 54 after, 12 lost, 6 gained: c = .40 x .46 / 3 = .0613, forgetting .0587, backward
transfer 0 (.06 - .0613). A lightly trained model repeats its guesses, and c is then more than guessing gave: 0 says
that guessing could explain the flips, not that it did. Items of each k are adjusted by themselves, weighted by number.

Interval: the wider of two. (1) The Wilson interval of x and the delta method's of c, with their correlation (MOVER:
Zou, Donner 2008, Statistics in Medicine 27:1693). (2) The delta method on counts with half an item added to each of the
four cells. Each alone misses too often to one side where few items flip (eval_hooks/README.md).
"""

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from eval_hooks.estimate import Estimate, missing
from eval_hooks.intervals import Z, share, wilson
from eval_hooks.results.schemas import schema_of
from eval_hooks.table import column

METHOD = "chance-adjusted counts: the wider of MOVER and the delta method with half an item added"
OPTIONS_ONLY = "no options to guess among"

Counts = Any
"""A whole number, or an array of them."""


@dataclass(frozen=True, kw_only=True)
class Ends:
    """A number with its interval, (K,) each."""

    value: np.ndarray
    low: np.ndarray
    high: np.ndarray


def adjusted_share(flipped: Counts, back: Counts, both_wrong: Counts, n: Counts, options: int) -> Ends:
    """Share of items `flipped` less c, not cut at 0, for counts or arrays of counts; `back` flipped the other way.

    Forgetting is that of (lost, gained), backward transfer that of (gained, lost).
    """
    counts = (np.asarray(count, dtype=float) for count in (flipped, back, both_wrong, n))
    cells = Cells(*np.broadcast_arrays(*counts))
    moved, plain = _mover(cells, options), _delta_method(cells, options)
    return Ends(value=moved.value, low=np.minimum(moved.low, plain.low), high=np.maximum(moved.high, plain.high))


class Cells(NamedTuple):
    """Counts of items, (K,) each."""

    flipped: np.ndarray
    back: np.ndarray
    both_wrong: np.ndarray
    n: np.ndarray

    def more(self) -> "Cells":
        """With half an item added to each of the four cells."""
        return Cells(self.flipped + 0.5, self.back + 0.5, self.both_wrong + 0.5, self.n + 2)

    def wrong(self) -> tuple[np.ndarray, np.ndarray]:
        """Share of items wrong before, and after."""
        return (self.back + self.both_wrong) / self.n, (self.flipped + self.both_wrong) / self.n


def _mover(cells: Cells, options: int) -> Ends:
    """From the share's Wilson interval and the standard error of c, whose two factors are means of the same items."""
    n, seen, (before, after) = cells.n, cells.flipped / cells.n, cells.wrong()
    more = cells.more()
    w, v = more.wrong()
    joint = more.both_wrong / more.n - w * v
    of_c = after**2 * w * (1 - w) + before**2 * v * (1 - v) + 2 * after * before * joint
    error = np.sqrt(of_c / n) / (options - 1)
    together = seen * before * (1 - 2 * after) / (n * (options - 1))  # covariance of the share and c
    scale = np.sqrt(seen * (1 - seen) / n) * error
    correlation = np.clip(np.where(scale > 0, together / np.where(scale > 0, scale, 1.0), 0.0), -1, 1)
    value = seen - before * after / (options - 1)

    def away(side: np.ndarray) -> np.ndarray:
        return np.sqrt(np.maximum(side**2 + (Z * error) ** 2 - 2 * correlation * side * Z * error, 0.0))

    low, high = _wilson(seen, n)
    return Ends(value=value, low=value - away(seen - low), high=value + away(high - seen))


def _delta_method(cells: Cells, options: int) -> Ends:
    """From what an item of each cell adds to the number, half an item added to each cell."""
    more = cells.more()
    before, after = more.wrong()
    shares = [count / more.n for count in more[:3]]
    adds = [1 - before / (options - 1), -after / (options - 1), -(before + after) / (options - 1)]
    mean = sum(share * one for share, one in zip(shares, adds, strict=True))  # an item right in both adds 0
    square = sum(share * one**2 for share, one in zip(shares, adds, strict=True))
    value, half = shares[0] - before * after / (options - 1), Z * np.sqrt((square - mean**2) / more.n)
    return Ends(value=value, low=value - half, high=value + half)


def _wilson(p: np.ndarray, n: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`intervals.wilson` of arrays."""
    z2 = Z * Z
    centre, half = p + z2 / (2 * n), Z * np.sqrt(p * (1 - p) / n + z2 / (4 * n * n))
    return (centre - half) / (1 + z2 / n), (centre + half) / (1 + z2 / n)


def transitions(before: pa.Table, after: pa.Table) -> dict[str, Estimate]:
    """`churn`, `forgetting` and `backward_transfer` of a retention entry, as shares of all items."""
    a, b = (column(table, "correct").astype(bool) for table in (before, after))
    out = {"churn": _churn(before, after, ~a & ~b)}
    if not schema_of(after).options:
        return out | dict.fromkeys(("forgetting", "backward_transfer"), missing(OPTIONS_ONLY, after.num_rows))
    options = column(after, "n_options").astype(int)
    return out | {"forgetting": _adjusted(a, b, options), "backward_transfer": _adjusted(b, a, options)}


def _churn(before: pa.Table, after: pa.Table, wrong: np.ndarray) -> Estimate:
    """Share of items wrong before and wrong after, and otherwise so."""
    name = schema_of(after).answer
    if name is None or before.column(name).null_count or after.column(name).null_count:
        return missing("the table holds no answers", len(wrong))
    answers = zip(before.column(name).to_pylist(), after.column(name).to_pylist(), strict=True)
    return share(wrong & np.array([one != other for one, other in answers], dtype=bool))


def _adjusted(first: np.ndarray, then: np.ndarray, options: np.ndarray) -> Estimate:
    """Right at first and wrong then, less what guessing gives, over items of each number of options."""
    n = len(first)
    if n == 0:
        return missing("no items")
    if options.min() < 2:
        return missing("an item with one option cannot be guessed wrong", n)
    for side in (first, then):
        if wilson(int(side.sum()), n)[1] < (1 / options).mean():
            return missing("accuracy below guessing: the answers are no guesses", n)
    value = below = above = 0.0
    for k in np.unique(options):
        a, b = first[options == k], then[options == k]
        part = adjusted_share((a & ~b).sum(), (~a & b).sum(), (~a & ~b).sum(), len(a), int(k))
        weight = len(a) / n
        value += weight * float(part.value)
        below += (weight * float(part.value - part.low)) ** 2
        above += (weight * float(part.high - part.value)) ** 2
    found = Estimate(value=value, low=value - below**0.5, high=value + above**0.5, n=n, method=METHOD)
    return replace(found, value=_share(found.value), low=_share(found.low), high=_share(found.high))


def _share(value: float | None) -> float:
    return min(1.0, max(0.0, value or 0.0))
