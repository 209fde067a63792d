"""The difference of two recipes' mean scores, runs and items both drawn: its interval from the runs' tables alone.

With y the score of item i in run r of recipe g,

    y = mu_g + item_i + recipe x item_gi + seed_gr + rest_gri

the mean difference d has the variance  S_a^2 / R_a + S_b^2 / R_b + V_items,  S_g^2 the variance of a recipe's run
means, which holds the seeds and the rest, V_items that of recipe x item over n. The variance of the items' mean
differences holds the rest a second time, which is taken out of it: mean squares of item x run, R_g each (the
components of a two-way table; Cameron, Gelbach, Miller 2011, Journal of Business & Economic Statistics 29:238 add and
take away clusters alike).

Satterthwaite's degrees of freedom for that sum are too many where few seeds happen to lie close together, and Welch's
for the seeds alone where the recipe of fewer runs has the wider ones (2 runs beside 5: 89 % where 95 are promised). So
each part brings its own limits and their squares add up, which covers no less than promised where the parts are normal
(Banerjee 1960, Calcutta Statistical Association Bulletin 10:38), end by end (MOVER; Zou, Donner 2008, Statistics in
Medicine 27:1693):

    low = d - sqrt((d - l)^2 + t_a^2 S_a^2 / R_a + t_b^2 S_b^2 / R_b)

t_g has R_g - 1 degrees of freedom; l is the lower end of the interval of paired counts (`retention.interval`, without
McNemar's) for as many items lost and gained as have the same mean and sum of squares, the rest taken out. Neither end
is inside what the items alone would give with the rest left in: runs that happen to agree prove no more than that.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import t

from eval_hooks.estimate import Estimate
from eval_hooks.retention.interval import score_low, wald_low

METHOD = "runs and items: t of each recipe's run means and the interval of paired items, limits combined"
FEWEST = 2
"""Runs of a recipe: one shows no spread."""

Numbers = Any
"""A number, or an array with one for each of many made comparisons."""


@dataclass(frozen=True, kw_only=True)
class Moments:
    """What the interval needs of two groups of tables."""

    n: int
    runs: tuple[int, int]
    change: Numbers
    """Mean of a less mean of b, as a share."""
    squares: Numbers
    """Sum over items of the squared difference of their means over runs."""
    rest: Numbers
    """The part of `squares` that item x run brings by itself."""
    variances: tuple[Numbers, Numbers]
    """Of each recipe's mean over runs: S^2 / R."""


@dataclass(frozen=True, kw_only=True)
class Ends:
    """The interval, and what it is made of."""

    low: Numbers
    high: Numbers
    seeds: Numbers
    """Half-width by seeds alone."""
    items: tuple[Numbers, Numbers]
    """(low, high) by items alone, the rest taken out."""


def moments(a: np.ndarray, b: np.ndarray) -> Moments:
    """Of scores (..., runs, n) from 0 to 1 on the same items, R_a and R_b runs; two or more each."""
    means = [side.mean(axis=-2) for side in (a, b)]  # of items, (..., n)
    totals = [side.mean(axis=-1) for side in (a, b)]  # of runs, (..., R)
    runs = a.shape[-2], b.shape[-2]
    variances = tuple(total.var(axis=-1, ddof=1) / R for total, R in zip(totals, runs, strict=True))
    n, change = a.shape[-1], totals[0].mean(axis=-1) - totals[1].mean(axis=-1)
    rest = sum(
        side.var(axis=-2, ddof=1).sum(axis=-1) / R - n * variance
        for side, R, variance in zip((a, b), runs, variances, strict=True)
    )
    squares = ((means[0] - means[1]) ** 2).sum(axis=-1)
    return Moments(n=n, runs=runs, change=change, squares=squares, rest=rest, variances=(variances[0], variances[1]))


def ends(found: Moments, level: float = 0.95) -> Ends:
    """The interval at a level."""
    seeds = np.sqrt(
        sum(
            t.ppf((1 + level) / 2, R - 1) ** 2 * variance
            for R, variance in zip(found.runs, found.variances, strict=True)
        )
    )
    without = _of_items(found.change, np.maximum(found.squares - found.rest, 0.0), found.n, level)
    with_rest = _of_items(found.change, found.squares, found.n, level)
    return Ends(
        low=np.maximum(-1.0, np.minimum(with_rest[0], found.change - np.hypot(found.change - without[0], seeds))),
        high=np.minimum(1.0, np.maximum(with_rest[1], found.change + np.hypot(without[1] - found.change, seeds))),
        seeds=seeds,
        items=without,
    )


def _of_items(change: Numbers, squares: Numbers, n: int, level: float) -> tuple[np.ndarray, np.ndarray]:
    """(low, high) of counts: gained + lost = squares, gained - lost = n change; neither is less than none."""
    net = n * np.asarray(change, dtype=float)
    flips = np.maximum(squares, np.abs(net))
    gained, lost = (flips + net) / 2, (flips - net) / 2
    low, high = (
        np.minimum(score_low(down, up, n, level), wald_low(down, up, n, level))
        for down, up in ((lost, gained), (gained, lost))  # the upper end is the lower one of the mirrored change
    )
    return low, -high


def difference(a: np.ndarray, b: np.ndarray, level: float = 0.95) -> tuple[Estimate, Ends]:
    """Mean of a less mean of b for scores (runs, n) each, and what its interval is made of."""
    found = moments(a, b)
    made = ends(found, level)
    estimate = Estimate(
        value=float(found.change), low=float(made.low), high=float(made.high), n=found.n, method=METHOD
    )  # fmt: skip
    return estimate, made
