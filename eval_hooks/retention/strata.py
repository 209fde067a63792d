"""Which items first, and what they say of all: paired change by strata of the base's margin. The suite's own method.

Nearly all items that flip are those whose gold option and best other option lay close together at step 0, and step 0's
table knows them. So items are drawn by strata of that margin, without replacement, most where most flips are expected;
every number is weighted by stratum, so it is unbiased whatever was expected. With N_h items in stratum h, n_h of them
scored, x the change of an item (-1, 0 or 1), W_h = N_h / N:

    D = sum_h W_h mean_h(x),    var D = sum_h W_h^2 (1 - n_h / N_h) s_h^2 / n_h
    s_h^2 = p_h - mean_h(x)^2,  p_h = (flips_h + 1/2) / (n_h + 1)

Stratified sampling and Neyman's shares: Cochran, Sampling Techniques, chapter 5. Nearest published: Neyman allocation
on a surrogate's entropy for one model's own score (arXiv 2605.10075). Worked by hand: N = (100, 300), n = (50, 30), 5
and 1 items lost, nothing gained: D = .25 (-.1) + .75 (-.033333) = -.05, se .029308.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import pyarrow as pa

from eval_hooks.errors import EvalError
from eval_hooks.table import column, probabilities

ASSUMED = (0.25, 0.10, 0.04, 0.02)
"""Share of items that flip in the first tenths by margin, before anything is known; measured on a light tuning."""
FLOOR_RATE = 0.01
"""No stratum is assumed to flip less."""
FIRST_SHARE = 0.02
"""Of every stratum scored in the first wave, so that damage that ignores the margins is seen."""
FEWEST = 60
"""Items under which all are scored."""


def margins(table: pa.Table) -> np.ndarray:
    """|log p of the right option - log p of the best other one| of each item, (N,). Raises EvalError for NaN."""
    return np.abs(signed_margins(table))


def signed_margins(table: pa.Table) -> np.ndarray:
    """The same with its sign: above 0 where the item is right. Raises EvalError for NaN."""
    p, gold = probabilities(table), column(table, "gold").astype(int)
    logp = [np.log(np.maximum(row, 1e-12)) for row in p]
    out = np.array([row[g] - np.delete(row, g).max() for row, g in zip(logp, gold, strict=True)])
    if np.isnan(out).any():
        raise EvalError(f"{int(np.isnan(out).sum())} items of step 0 have no margin: their log-probabilities are NaN")
    return out


def strata(margin: np.ndarray) -> np.ndarray:
    """Stratum of each item, (N,): tenths by rank of the margin, ties by item order; fifths under 200 items."""
    groups = 5 if len(margin) < 200 else 10
    out = np.empty(len(margin), dtype=int)
    for number, members in enumerate(np.array_split(np.argsort(margin, kind="stable"), groups)):
        out[members] = number
    return out


def assumed_rates(groups: int) -> np.ndarray:
    """Flip rate of each stratum before a checkpoint has shown any."""
    return np.array([*ASSUMED, *[FLOOR_RATE] * groups][:groups])


def learned_rates(flips: np.ndarray, scored: np.ndarray) -> np.ndarray:
    """The same after a checkpoint: what it showed, never under the floor. They steer shares, not the estimate."""
    return np.maximum(FLOOR_RATE, (flips + 0.5) / (scored + 1))


def allocate(sizes: np.ndarray, scored: np.ndarray, rates: np.ndarray, wave: int) -> np.ndarray:
    """How many more items of each stratum the next wave scores, (H,).

    Shares follow N_h sqrt(rate_h) over all items scored by then, within what is there, the first wave not under 2 % of
    any stratum (which may make it larger than asked).
    """
    first = not scored.any()
    low = np.maximum(scored, np.ceil(FIRST_SHARE * sizes).astype(int) if first else 0)
    total = min(int(sizes.sum()), max(int(low.sum()), int(scored.sum()) + wave))
    wanted = sizes * np.sqrt(rates)
    scale = _scale(wanted, low, sizes, total)
    exact = np.clip(scale * wanted, low, sizes)
    upto = np.floor(exact).astype(int)
    for h in np.argsort(upto - exact, kind="stable")[: total - int(upto.sum())]:
        upto[h] += 1
    return upto - scored


def _scale(wanted: np.ndarray, low: np.ndarray, high: np.ndarray, total: int) -> float:
    """The factor at which clip(factor * wanted, low, high) sums to the total, by bisection."""
    below, above = 0.0, float((high / wanted).max())
    for _ in range(200):
        middle = (below + above) / 2
        below, above = (middle, above) if np.clip(middle * wanted, low, high).sum() < total else (below, middle)
    return above


def order(stratum: np.ndarray, seed: int) -> list[np.ndarray]:
    """Items of each stratum in the order they are drawn in: the same at every checkpoint, so samples are nested."""
    rng = np.random.default_rng(seed)
    return [rng.permutation(np.flatnonzero(stratum == h)) for h in range(int(stratum.max()) + 1)]


@dataclass(frozen=True, kw_only=True)
class Change:
    """The mean change over all items, from those scored."""

    value: float
    se: float
    n: int
    of: int
    flips: tuple[int, ...]
    """Of each stratum."""
    scored: tuple[int, ...]

    def interval(self, z: float) -> tuple[float, float]:
        """Value -+ z standard errors, inside [-1, 1]."""
        return max(-1.0, self.value - z * self.se), min(1.0, self.value + z * self.se)


def change(x: Sequence[np.ndarray], sizes: np.ndarray) -> Change:
    """The estimate from the scored items' changes by stratum. Raises EvalError for a stratum without an item."""
    n = np.array([len(values) for values in x])
    if (n == 0).any():
        raise EvalError(f"stratum {int(np.argmin(n))} has no scored item, so nothing can be said of all items")
    weight = sizes / sizes.sum()
    mean = np.array([values.mean() for values in x])
    flips = np.array([int(np.count_nonzero(values)) for values in x])
    spread = np.maximum((flips + 0.5) / (n + 1) - mean**2, 0.0)
    variance = (weight**2 * (1 - n / sizes) * spread / n).sum()
    return Change(
        value=float((weight * mean).sum()),
        se=float(np.sqrt(variance)),
        n=int(n.sum()),
        of=int(sizes.sum()),
        flips=tuple(flips.tolist()),
        scored=tuple(n.tolist()),
    )


def mean_of_all(x: Sequence[np.ndarray], sizes: np.ndarray) -> tuple[float, float]:
    """(mean over all items, its standard error) of any number of the items scored, by stratum.

    s_h^2 is the sample variance; where one item was scored, that of all of them.
    """
    n, weight = np.array([len(values) for values in x]), sizes / sizes.sum()
    everywhere = np.concatenate(x).var(ddof=1)
    spread = np.array([values.var(ddof=1) if len(values) > 1 else everywhere for values in x])
    variance = (weight**2 * (1 - n / sizes) * spread / n).sum()
    return float((weight * [values.mean() for values in x]).sum()), float(np.sqrt(variance))


Decision = Literal["excluded", "proven", "undecided"]


def decide(found: Change, allowed: float, z: float) -> Decision:
    """Whether a loss of more than `allowed` is excluded, proven, or neither."""
    low, high = found.interval(z)
    return "excluded" if low > -allowed else "proven" if high < -allowed else "undecided"


@lru_cache
def pocock(alpha: float, looks: int) -> float:
    """The constant bound z that |Z| crosses at any of `looks` looks with probability alpha under no change.

    Equal steps of information; by the recursion of Armitage, McPherson and Rowe (1969), solved for z (Pocock 1977).
    """
    from scipy.optimize import brentq

    return float(brentq(lambda z: _crossing(z, looks) - alpha, 1.0, 6.0, xtol=1e-6))


def _crossing(z: float, looks: int) -> float:
    """Probability that |S_k| / sqrt(k) exceeds z for some k up to `looks`, S a sum of standard normals."""
    from scipy.stats import norm

    points, weights = np.polynomial.legendre.leggauss(96)
    grid, step = z * points, z * weights  # S_1 inside [-z, z]
    density = norm.pdf(grid)
    for k in range(2, looks + 1):
        edge = z * np.sqrt(k)
        following, its_step = edge * points, edge * weights
        density = norm.pdf(following[:, None] - grid[None, :]) @ (step * density)
        grid, step = following, its_step
    return float(1 - (step * density).sum())
