"""Which items first, and what they say of all: paired change by strata of the base's margin. The suite's own method.

Nearly all items that flip are those whose gold option and best other option lay close together at step 0, and step 0's
table knows them. So items are drawn by strata of that margin, without replacement, most where most flips are expected;
every number is weighted by stratum, so it is unbiased whatever was expected. With N_h items in stratum h, n_h of them
scored, x the change of an item (-1, 0 or 1), W_h = N_h / N:

    D = sum_h W_h mean_h(x),    var D = sum_h W_h^2 (1 - n_h / N_h) s_h^2 / n_h
    s_h^2 = l_h + g_h - (g_h - l_h)^2,  l_h = (lost_h + 1/2) / (n_h + 1), g_h = (gained_h + 1/2) / (n_h + 1)

Half an item is added to the lost and to the gained (Jeffreys), so that neither a stratum without flips nor one whose
items all flipped counts as known before its last item is scored. Stratified sampling and Neyman's shares: Cochran,
Sampling Techniques, chapter 5. Nearest published: Neyman allocation on a surrogate's entropy for one model's own score
(arXiv 2605.10075). Worked by hand: N = (100, 300), n = (50, 30), 5 and 1 items lost, nothing gained:
D = .25 (-.1) + .75 (-.033333) = -.05, se .033744.
"""

from collections.abc import Sequence
from dataclasses import dataclass

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
    gold = column(table, "gold").astype(int)
    logp = np.log(np.maximum(probabilities(table), 1e-12))  # (N, options)
    items = np.arange(len(gold))
    of_gold = logp[items, gold]
    logp[items, gold] = -np.inf
    out = of_gold - logp.max(axis=1)
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
    for _ in range(60):
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
    sizes: np.ndarray
    """Items of each stratum, (H,); the same shape below."""
    lost: np.ndarray
    gained: np.ndarray
    scored: np.ndarray

    @property
    def n(self) -> int:
        """Items scored."""
        return int(self.scored.sum())

    @property
    def se(self) -> float:
        """Standard error of the value; 0 only where every item is scored."""
        return float(np.sqrt(self.variance(self.scored)))

    def variance(self, scored: np.ndarray) -> np.ndarray:
        """Of the value from so many items of each stratum, (..., H) -> (...), the flips spread as they are here."""
        return variance_of_mean(smoothed_spread(self.lost, self.gained, self.scored), scored, self.sizes)

    def plain_variance(self, scored: np.ndarray) -> np.ndarray:
        """The same without the half items: right on average, and 0 in a stratum where none flipped or all did."""
        lost, gained = self.lost / self.scored, self.gained / self.scored
        spread = lost + gained - (gained - lost) ** 2
        return variance_of_mean(spread * self.scored / np.maximum(self.scored - 1, 1), scored, self.sizes)


def smoothed_spread(lost: np.ndarray, gained: np.ndarray, scored: np.ndarray) -> np.ndarray:
    """Variance of an item's change in each stratum, half an item added to both, (..., H)."""
    down, up = (lost + 0.5) / (scored + 1), (gained + 0.5) / (scored + 1)
    return np.asarray(down + up - (up - down) ** 2)


def weighted_mean(lost: np.ndarray, gained: np.ndarray, scored: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """The mean change over all items, (..., H) -> (...)."""
    return np.asarray((gained - lost) / scored @ (sizes / sizes.sum()))


def variance_of_mean(spread: np.ndarray, scored: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Of a mean stratified, without replacement; each stratum's variance in `spread`, (..., H) -> (...)."""
    weight = sizes / sizes.sum()
    return np.asarray((weight**2 * (1 - scored / sizes) * spread / scored).sum(axis=-1))


def change(x: Sequence[np.ndarray], sizes: np.ndarray) -> Change:
    """The estimate from the scored items' changes by stratum. Raises EvalError for a stratum without an item."""
    scored, lost, gained = (np.array([how(values) for values in x]) for how in (len, _lost, _gained))
    if (scored == 0).any():
        raise EvalError(f"stratum {int(np.argmin(scored))} has no scored item, so nothing can be said of all items")
    value = float(weighted_mean(lost, gained, scored, sizes))
    return Change(value=value, sizes=sizes, lost=lost, gained=gained, scored=scored)


def _lost(x: np.ndarray) -> int:
    return int((x < 0).sum())


def _gained(x: np.ndarray) -> int:
    return int((x > 0).sum())


def mean_of_all(x: Sequence[np.ndarray], sizes: np.ndarray) -> tuple[float, float]:
    """(mean over all items, its standard error) of any number of the items scored, by stratum.

    s_h^2 is the sample variance; where one item was scored, that of all of them.
    """
    n, weight = np.array([len(values) for values in x]), sizes / sizes.sum()
    everywhere = np.concatenate(x).var(ddof=1)
    spread = np.array([values.var(ddof=1) if len(values) > 1 else everywhere for values in x])
    mean = float((weight * [values.mean() for values in x]).sum())
    return mean, float(np.sqrt(variance_of_mean(spread, n, sizes)))


def slope(x: Sequence[np.ndarray], y: Sequence[np.ndarray], sizes: np.ndarray) -> float:
    """cov(Y, X) / var(X) of two such means of the same items; 0 where X does not vary."""
    n = np.array([len(values) for values in x])
    pairs = [np.cov(a, b) if len(a) > 1 else np.zeros((2, 2)) for a, b in zip(x, y, strict=True)]
    of_x, both = (variance_of_mean(np.array([pair[0, i] for pair in pairs]), n, sizes) for i in (0, 1))
    return float(both / of_x) if of_x > 0 else 0.0
