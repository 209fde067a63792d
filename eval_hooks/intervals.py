"""Intervals at 95 %: Wilson for a share, percentile bootstrap for the rest."""

from collections.abc import Callable

import numpy as np

from eval_hooks.estimate import Estimate, missing

Z = 1.959963984540054
"""97.5 % point of the normal distribution."""


def wilson(successes: int, n: int) -> tuple[float, float]:
    """Wilson score interval of a share (Wilson 1927)."""
    share, z2 = successes / n, Z * Z
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = Z * np.sqrt(share * (1 - share) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    return max(0.0, min(share, float(centre - half))), min(1.0, max(share, float(centre + half)))


def share(flags: np.ndarray) -> Estimate:
    """Share of true among n, with its Wilson interval."""
    n = len(flags)
    if n == 0:
        return missing("no items")
    low, high = wilson(int(flags.sum()), n)
    return Estimate(value=float(flags.mean()), low=low, high=high, n=n, method="wilson")


def bootstrap_mean(values: np.ndarray, resamples: int = 10_000, seed: int = 0) -> Estimate:
    """Mean of n values; percentile interval over resampled items (Efron 1979)."""
    n = len(values)
    if n == 0:
        return missing("no items")
    rng = np.random.default_rng(seed)
    means = np.concatenate([values[rng.integers(0, n, (1000, n))].mean(axis=1) for _ in range(resamples // 1000)])
    low, high = np.quantile(means, [0.025, 0.975])
    return Estimate(
        value=float(values.mean()),
        low=float(low),
        high=float(high),
        n=n,
        method=f"paired bootstrap, {resamples} resamples",
    )


def bootstrap(
    statistic: Callable[[np.ndarray], float | None], n: int, resamples: int = 1000, seed: int = 0
) -> Estimate:
    """Any statistic of item indices (n,), with a percentile interval over resampled items.

    Resamples where it is undefined are left out.
    """
    if n == 0:
        return missing("no items")
    value = statistic(np.arange(n))
    if value is None or not np.isfinite(value):
        return missing("undefined on these items", n)
    rng = np.random.default_rng(seed)
    drawn = [statistic(rng.integers(0, n, n)) for _ in range(resamples)]
    kept = [d for d in drawn if d is not None and np.isfinite(d)]
    low, high = np.quantile(kept, [0.025, 0.975])
    return Estimate(
        value=float(value), low=float(low), high=float(high), n=n, method=f"bootstrap, {resamples} resamples"
    )
