"""Intervals at 95 %: Wilson for a share, percentile bootstrap for the rest."""

from collections.abc import Callable, Iterator, Mapping

import numpy as np
from scipy.stats import norm

from eval_hooks.estimate import Estimate, missing

Z = 1.959963984540054
"""97.5 % point of the normal distribution."""


def wilson(successes: int, n: int, alpha: float = 0.05) -> tuple[float, float]:
    """Wilson score interval of a share at 1 - alpha (Wilson 1927); at alpha 0 it is all there is."""
    z = Z if alpha == 0.05 else float(norm.isf(alpha / 2))
    if not np.isfinite(z):
        return 0.0, 1.0
    share, z2 = successes / n, z * z
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = z * np.sqrt(share * (1 - share) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    return max(0.0, min(share, float(centre - half))), min(1.0, max(share, float(centre + half)))


def share(flags: np.ndarray, alpha: float = 0.05) -> Estimate:
    """Share of true among n, with its Wilson interval at 1 - alpha."""
    n = len(flags)
    if n == 0:
        return missing("no items")
    low, high = wilson(int(flags.sum()), n, alpha)
    return Estimate(value=float(flags.mean()), low=low, high=high, n=n, method="wilson")


Drawn = Callable[[np.ndarray], Mapping[str, np.ndarray]]
"""How often each of n items is in each of R resamples, (R, n) -> numbers of the resamples, (R,); NaN: undefined."""


def resampled(n: int, resamples: int, seed: int = 0) -> Iterator[np.ndarray]:
    """Indices of items drawn with replacement, a few resamples at a time, (R, n); the same ones for every number."""
    rng, rows = np.random.default_rng(seed), max(1, 60_000 // n)  # what a processor's cache holds
    for done in range(0, resamples, rows):
        yield rng.integers(0, n, (min(rows, resamples - done), n))


def times_drawn(index: np.ndarray) -> np.ndarray:
    """How often each item stands in each resample: indices (R, n) -> counts (R, n)."""
    own = index + index.shape[1] * np.arange(len(index))[:, None]
    return np.bincount(own.ravel(), minlength=index.size).reshape(index.shape).astype(float)


def bootstrap_mean(values: np.ndarray, resamples: int = 10_000, seed: int = 0, alpha: float = 0.05) -> Estimate:
    """Mean of n values; percentile interval at 1 - alpha over resampled items (Efron 1979)."""
    n = len(values)
    if n == 0:
        return missing("no items")
    means = np.concatenate([values[index].mean(axis=1) for index in resampled(n, resamples, seed)])
    return percentile(float(values.mean()), means, n, f"paired bootstrap, {resamples} resamples", alpha)


def bootstrap(
    values: Mapping[str, float | None], drawn: Drawn, n: int, resamples: int = 1000, seed: int = 0
) -> dict[str, Estimate]:
    """Numbers of n items by name, each with a percentile interval over the same resampled items.

    Resamples where a number is undefined are left out of its interval.
    """
    if n == 0:
        return dict.fromkeys(values, missing("no items"))
    blocks = [drawn(times_drawn(index)) for index in resampled(n, resamples, seed)]
    how = f"bootstrap, {resamples} resamples"
    return {
        name: percentile(value, np.concatenate([block[name] for block in blocks]), n, how)
        for name, value in values.items()
    }


def percentile(value: float | None, drawn: np.ndarray, n: int, method: str, alpha: float = 0.05) -> Estimate:
    """A number between the points of what its resamples gave that leave alpha / 2 out at each side.

    Missing where it is undefined itself.
    """
    if value is None or not np.isfinite(value):
        return missing("undefined on these items", n)
    low, high = np.quantile(drawn[np.isfinite(drawn)], [alpha / 2, 1 - alpha / 2])
    return Estimate(value=float(value), low=float(low), high=float(high), n=n, method=method)


def ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """One over the other, NaN where that is not above 0."""
    return np.divide(above, below, out=np.full(np.shape(below), np.nan), where=below > 0)
