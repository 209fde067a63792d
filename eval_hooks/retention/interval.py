"""The interval of a paired change of accuracy, from the counts alone: it covers where few items flip, or all one way.

With l of n items lost and g gained the change is d = (g - l) / n. Each end is the wider of two intervals', and 0 stays
inside unless McNemar's exact test rejects no change at the same level:

    score: the d with |g - l - n d| <= z sqrt(n (2 q + d - d^2)), q the likeliest share of items lost if the change is d
        (Tango 1998, Statistics in Medicine 17:891, the statistic of section 3)
    adjusted Wald: L = (l + 1) / (n + 2), G = (g + 1) / (n + 2): G - L -+ z sqrt((G + L - (G - L)^2) / (n + 2))
        (Bonett, Price 2012, Journal of Educational and Behavioral Statistics 37:479)

Ours is the hull, since each alone errs where few items flip: where all flips are losses the score interval too often
claims a loss too large, the adjusted Wald one a loss too small (eval_hooks/README.md has the rates of the hull). One
more item lost never raises either end; the adjusted Wald one has to be held to that at high levels, where it turns at
next to no flips (`wald_low`).

Of items that are copies of each other all three counts shrink in proportion, to those of the items they are worth, and
McNemar's test is one of clusters.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import norm

from eval_hooks.copies import worth
from eval_hooks.estimate import Estimate
from eval_hooks.retention.flips import mcnemar

METHOD = "paired counts: the wider of score and adjusted Wald, with exact McNemar"
HALVINGS = 55
"""Of [-1, 1]: to 2^-54, what a float64 can tell."""

Counts = Any
"""A whole number, or an array of them."""


@dataclass(frozen=True, kw_only=True)
class Clusters:
    """What paired items are worth of which some are copies of each other."""

    lost: int
    """Clusters of which more items are lost than gained: equally likely the other way where nothing changed, so
    McNemar's test is exact over them."""
    gained: int
    worth: float
    """Different items that they are worth to an interval (`copies.worth`)."""

    @classmethod
    def of(cls, change: np.ndarray, clusters: np.ndarray) -> "Clusters":
        """From each item's change (n,) and its cluster (n,)."""
        net = np.bincount(clusters, weights=change)
        return cls(lost=int((net < 0).sum()), gained=int((net > 0).sum()), worth=worth(len(change), clusters))


def paired_change(lost: int, gained: int, n: int, level: float = 0.95, clusters: Clusters | None = None) -> Estimate:
    """(gained - lost) / n of n paired items with its interval; n is at least 1. At level 1 it is all there is.

    `clusters` says what the items are worth where some are copies of others.
    """
    if level >= 1:
        return Estimate(value=(gained - lost) / n, low=-1.0, high=1.0, n=n, method="nothing may be claimed any more")
    if clusters is None:
        low, high = change_interval(lost, gained, n, level)
        return Estimate(value=(gained - lost) / n, low=float(low), high=float(high), n=n, method=METHOD)
    share, p = clusters.worth / n, mcnemar(np.asarray(clusters.lost), np.asarray(clusters.gained))
    low, high = change_interval(lost * share, gained * share, n * share, level, p)
    return Estimate(
        value=(gained - lost) / n, low=float(low), high=float(high), n=n, method=f"{METHOD}; copies counted once"
    )


def change_interval(
    lost: Counts, gained: Counts, n: Counts, level: float = 0.95, p: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """(low, high) of the change at this level, for counts or arrays of counts; `p` where McNemar's is of others."""
    lost, gained, n = np.broadcast_arrays(*(np.asarray(count, dtype=float) for count in (lost, gained, n)))
    open_ = (mcnemar(lost, gained) if p is None else p) >= 1 - level
    ends = []
    for down, up in ((lost, gained), (gained, lost)):  # the upper end is the lower one of the mirrored change
        end = np.minimum(score_low(down, up, n, level), wald_low(down, up, n, level))
        ends.append(np.where(open_, np.minimum(end, 0.0), end))
    return ends[0], -ends[1]


def score_low(lost: Counts, gained: Counts, n: Counts, level: float) -> np.ndarray:
    """Lower end of the score interval (Tango 1998).

    With e = -d and p the likeliest share of items gained if e more are lost, p solves 2 n p^2 + B p + C = 0 with
    B = (2 n - l + g) e - l - g, C = -g e (1 - e); e is found by halving where (n (e + d))^2 = z^2 n (2 p + e - e^2).
    """
    z2, change = norm.ppf((1 + level) / 2) ** 2, (gained - lost) / n
    least, most = -change, np.ones_like(change)
    for _ in range(HALVINGS):
        e = (least + most) / 2
        b, c = (2 * n - lost + gained) * e - lost - gained, -gained * e * (1 - e)
        root = np.sqrt(np.maximum(b * b - 8 * n * c, 0.0))
        far = np.where(b > 0, b + root, 1.0)  # the form without a difference of near-equals
        p = np.where(b > 0, -2 * c / far, (root - b) / (4 * n))
        inside = n * (e + change) ** 2 < z2 * (2 * p + e - e * e)
        least, most = np.where(inside, e, least), np.where(inside, most, e)
    return -most


def wald_low(lost: Counts, gained: Counts, n: Counts, level: float) -> np.ndarray:
    """Lower end of the adjusted Wald interval (Bonett, Price 2012), made never to fall for an item more gained.

    With N = n + 2 and c = g - l it is (c - z sqrt(2 l + 2 + c - c^2 / N)) / N, convex in c, least at
    c = N / 2 - N sqrt((2 l + 2 + N / 4) / (N + z^2)): fewer items gained than that count as so many.
    """
    z, size = norm.ppf((1 + level) / 2), n + 2
    turn = size / 2 - size * np.sqrt((2 * lost + 2 + size / 4) / (size + z * z))
    c = np.maximum(gained - lost, turn)
    return np.maximum(-1.0, (c - z * np.sqrt(2 * lost + 2 + c - c * c / size)) / size)
