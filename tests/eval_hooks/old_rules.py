"""Rules of before, kept to be compared with: each is known to break its promise, and the cells that show it must fail.

Words of counts, until 2026-11-29: the percentile bootstrap of the paired change over 10,000 resamples of the items, and
the Wilson bound of the share of flips where there was none. New subjects, until 2026-11-30: whole subjects resampled, and
percentiles. Copies of an item, until 2026-11-30: as many items.

Words of calibration, until 2026-11-30: the percentile bootstrap of the change of plain ECE, whose noise differs where
confidences differ; in waves the base's was taken as known and only the change's items were resampled.

Evaluations in waves, until 2026-11-30: Pocock's constant for ten looks at equal steps, flips smoothed but not their
direction, and the estimate as it stood where looking ended.
"""

from functools import lru_cache
from math import sqrt

import numpy as np
import pyarrow as pa
from scipy.optimize import brentq
from scipy.stats import chi2, norm

from eval_hooks.calibration.ece import ece, width_bins
from eval_hooks.calibration.resampled import spread
from eval_hooks.estimate import Estimate
from eval_hooks.intervals import Z, bootstrap, bootstrap_mean, times_drawn
from eval_hooks.table import column
from eval_hooks.waves import MMLU, SIZES, Drawn

BATCH = 2_000_000
"""Numbers at once."""


def delta_estimate(before: np.ndarray, after: np.ndarray) -> Estimate:
    """The paired change of items right or wrong, (n,) each, as it was estimated."""
    if len(before) and not (before != after).any():
        bound = Z * Z / (len(before) + Z * Z)
        return Estimate(value=0.0, low=-bound, high=bound, n=len(before))
    return bootstrap_mean(after.astype(float) - before.astype(float))


def change_interval(lost: np.ndarray, gained: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """(low, high) of counts (K,): what `delta_estimate` tends to with ever more resamples.

    A resample's items gained less lost are a sum of n draws from {-1, 0, 1}, so its distribution is the n-th power of
    one draw's characteristic function, turned back by Fourier's transform over 4 standard deviations and more each way.
    """
    width = 1 << int(np.ceil(np.log2(8.5 * np.sqrt((lost + gained).max()) + 40)))
    low, high = (np.empty(len(lost)) for _ in range(2))
    for start in range(0, len(lost), max(1, BATCH // width)):
        rows = slice(start, start + max(1, BATCH // width))
        low[rows], high[rows] = _percentiles(lost[rows], gained[rows], n, width)
    bound = Z * Z / (n + Z * Z)
    none = lost + gained == 0
    return np.where(none, -bound, low / n), np.where(none, bound, high / n)


def _percentiles(lost: np.ndarray, gained: np.ndarray, n: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    angle = 2 * np.pi * np.arange(width // 2 + 1) / width
    first = (gained - lost - width // 2)[:, None]
    flips, net = ((lost + gained) / n)[:, None], ((gained - lost) / n)[:, None]
    real, imaginary = 1 - flips * (1 - np.cos(angle)), net * np.sin(angle)
    with np.errstate(divide="ignore"):
        size = np.exp(n / 2 * np.log(real**2 + imaginary**2))
    turned = n * np.arctan2(imaginary, real) - angle * first
    total = np.fft.irfft(size * np.exp(-1j * turned), width, axis=1).cumsum(axis=1)
    return tuple(first[:, 0] + (total >= at).argmax(axis=1) for at in (0.025, 0.975))


def clustered_interval(
    sums: np.ndarray, sizes: np.ndarray, resamples: int = 2000, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """(low, high) of the mean per item, sums (K, G) over G subjects of so many items each: whole ones resampled."""
    subjects = len(sizes)
    times = np.random.default_rng(seed).multinomial(subjects, np.full(subjects, 1 / subjects), resamples)  # (R, G)
    low, high = np.quantile(sums @ times.T / (times @ sizes), [0.025, 0.975], axis=1)
    return low, high


def ece_rise(before: tuple[np.ndarray, np.ndarray], after: tuple[np.ndarray, np.ndarray]) -> Estimate:
    """The change of ECE of (confidence, right), (n,) each, with the percentile interval of resampled items."""
    gaps = [spread(width_bins(conf), right - conf) for conf, right in (before, after)]
    n = len(before[0])

    def drawn(counts: np.ndarray) -> dict[str, np.ndarray]:
        first, then = (np.abs(counts @ gap).sum(1) / n for gap in gaps)
        return {"rise": then - first}

    return bootstrap({"rise": ece(*after) - ece(*before)}, drawn, n)["rise"]


def part_rise(table: pa.Table, drawn: Drawn, resamples: int = 1000) -> Estimate:
    """The same in waves: the base's ECE, known, against that of the base's bins moved by the weighted change."""

    def gaps(one: pa.Table) -> np.ndarray:
        conf = column(one, "conf")
        return spread(width_bins(conf), column(one, "correct").astype(float) - conf)

    every, n, weights, rng = gaps(drawn.before), len(drawn.stratum), drawn.weights(), np.random.default_rng(0)
    base, change = every.sum(axis=0), gaps(table) - every[drawn.items]
    strata = drawn.by_stratum(np.arange(len(change)))
    index = np.concatenate([rng.choice(own, (resamples, len(own))) for own in strata], axis=1)
    rises = np.abs(base + (weights * times_drawn(index)) @ change).sum(axis=1) / n - np.abs(base).sum() / n
    value = float(np.abs(base + weights @ change).sum() / n - np.abs(base).sum() / n)
    low, high = np.quantile(rises, [0.025, 0.975])
    return Estimate(value=value, low=float(low), high=float(high), n=len(change))


@lru_cache
def pocock(alpha: float, looks: int) -> float:
    """The constant bound that |Z| crosses at any of so many equally spaced looks with probability alpha."""
    return float(brentq(lambda z: _crossing(z, looks) - alpha, 1.0, 6.0, xtol=1e-6))


def _crossing(z: float, looks: int) -> float:
    points, weights = np.polynomial.legendre.leggauss(96)
    grid, step = z * points, z * weights
    density = norm.pdf(grid)
    for k in range(2, looks + 1):
        edge = z * np.sqrt(k)
        following, its_step = edge * points, edge * weights
        density = norm.pdf(following[:, None] - grid[None, :]) @ (step * density)
        grid, step = following, its_step
    return float(1 - (step * density).sum())


def se_of_change(lost: np.ndarray, gained: np.ndarray, scored: np.ndarray, sizes: np.ndarray) -> float:
    """Standard error of the stratified change, (H,) each: 0 where all scored items flipped one way."""
    spread = np.maximum((lost + gained + 0.5) / (scored + 1) - ((gained - lost) / scored) ** 2, 0.0)
    return float(np.sqrt(((sizes / sizes.sum()) ** 2 * (1 - scored / sizes) * spread / scored).sum()))


class DrawnBefore(Drawn):
    """The waves and the decisions of before; how items are drawn is the same."""

    def plan(self) -> list[int]:
        """Waves of as few as one item, and all that is left after the ninth."""
        return [*(max(1, round(size * len(self.stratum) / MMLU)) for size in SIZES), len(self.stratum)]

    def interval(self, alpha: float) -> tuple[float, float]:
        """The estimate less and plus Pocock's constant standard errors."""
        found = self.change()
        half = pocock(alpha, len(SIZES) + 1) * se_of_change(found.lost, found.gained, found.scored, self.sizes)
        return found.value - half, found.value + half

    def value(self) -> float:
        """As it stood."""
        return self.change().value


def sigma_interval(sigma: float, runs: int) -> tuple[float, float] | None:
    """Of a spread over seeds, until 2026-11-30: none where the runs have the same score."""
    if sigma == 0:
        return None
    low, high = (sigma * sqrt((runs - 1) / chi2.ppf(p, runs - 1)) for p in (0.975, 0.025))
    return float(low), float(high)


def smallest_difference(sigma: float) -> float:
    """Between two runs, "worth believing", until 2026-11-30: 2 sqrt(2) sigma."""
    return 2 * sqrt(2) * sigma


def signal_to_noise_interval(signal: float, sigma: float, runs: int) -> tuple[float, float]:
    """Until 2026-11-30: sigma's interval alone, the signal taken as known."""
    ends = sigma_interval(sigma, runs)
    if ends is None:
        return -np.inf, np.inf
    low, high = sorted((signal / ends[0], signal / ends[1]))
    return low, high
