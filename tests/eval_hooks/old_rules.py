"""Rules of before, kept to be compared with: each is known to break its promise, and the cells that show it must fail.

Words of counts, until 2026-11-29: the percentile bootstrap of the paired change over 10,000 resamples of the items, and
the Wilson bound of the share of flips where there was none.
"""

from math import sqrt

import numpy as np
from scipy.stats import chi2

from eval_hooks.estimate import Estimate
from eval_hooks.intervals import Z, bootstrap_mean

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
