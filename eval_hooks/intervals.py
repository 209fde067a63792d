"""Intervals at 95 %: Wilson for a share, percentile bootstrap for the rest.

`clusters` are those of items that are copies of each other (`copies`): (n,) whole numbers, None where there are none.
"""

from collections.abc import Callable, Iterator, Mapping

import numpy as np
from scipy.stats import norm

from eval_hooks.copies import worth
from eval_hooks.estimate import Estimate, missing

Z = 1.959963984540054
"""97.5 % point of the normal distribution."""


def wilson(successes: float, n: float, alpha: float = 0.05) -> tuple[float, float]:
    """Wilson score interval of a share at 1 - alpha (Wilson 1927); at alpha 0 it is all there is."""
    z = Z if alpha == 0.05 else float(norm.isf(alpha / 2))
    if not np.isfinite(z):
        return 0.0, 1.0
    share, z2 = successes / n, z * z
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = z * np.sqrt(share * (1 - share) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    return max(0.0, min(share, float(centre - half))), min(1.0, max(share, float(centre + half)))


def share(flags: np.ndarray, clusters: np.ndarray | None = None, alpha: float = 0.05) -> Estimate:
    """Share of true among n, with its Wilson interval at 1 - alpha for so many items as they are worth."""
    n = len(flags)
    if n == 0:
        return missing("no items")
    of = worth(n, clusters)
    low, high = wilson(float(flags.sum()) * of / n, of, alpha)
    return Estimate(value=float(flags.mean()), low=low, high=high, n=n, method=once("wilson", clusters))


def once(method: str, clusters: np.ndarray | None) -> str:
    """The method's name, and that it counts copies once where there are any."""
    return method if clusters is None else f"{method}, copies counted once"


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


def whole_clusters(clusters: np.ndarray, resamples: int, seed: int = 0) -> Iterator[np.ndarray]:
    """How often each item stands in each resample, (R, n), a few at a time: clusters are drawn until there are n items.

    Numbers of a resample may take for granted that it has n; the last cluster is cut where it would make more.
    """
    n, sizes, rng = len(clusters), np.bincount(clusters), np.random.default_rng(seed)
    order, place = np.argsort(clusters, kind="stable"), np.empty(n, dtype=int)
    place[order] = np.arange(n) - (sizes.cumsum() - sizes)[clusters[order]]  # of an item in its cluster, from 0
    for done in range(0, resamples, rows := max(1, 60_000 // n)):
        drawn = rng.integers(0, len(sizes), (min(rows, resamples - done), n))
        upto = sizes[drawn].cumsum(axis=1)
        whole = upto <= n
        own = drawn + len(sizes) * np.arange(len(drawn))[:, None]
        times = np.bincount(own[whole], minlength=len(sizes) * len(drawn)).reshape(len(drawn), -1)
        last = (np.arange(len(drawn)), np.minimum(whole.sum(axis=1), n - 1))
        left = n - (upto - sizes[drawn])[last]
        cut = (clusters == drawn[last][:, None]) & (place < np.where(whole[last], 0, left)[:, None])
        yield (times[:, clusters] + cut).astype(float)


def counts(n: int, resamples: int, seed: int = 0, clusters: np.ndarray | None = None) -> Iterator[np.ndarray]:
    """How often each item stands in each resample, (R, n)."""
    if clusters is not None:
        return whole_clusters(clusters, resamples, seed)
    return (times_drawn(index) for index in resampled(n, resamples, seed))


def bootstrap_mean(
    values: np.ndarray,
    resamples: int = 10_000,
    seed: int = 0,
    alpha: float = 0.05,
    clusters: np.ndarray | None = None,
) -> Estimate:
    """Mean of n values; percentile interval at 1 - alpha over resampled items, or clusters of them (Efron 1979)."""
    n = len(values)
    if n == 0:
        return missing("no items")
    if clusters is None:
        means = [values[index].mean(axis=1) for index in resampled(n, resamples, seed)]
    else:
        means = [times @ values / n for times in whole_clusters(clusters, resamples, seed)]
    how = once(f"paired bootstrap, {resamples} resamples", clusters)
    return percentile(float(values.mean()), np.concatenate(means), n, how, alpha)


def bootstrap(
    values: Mapping[str, float | None],
    drawn: Drawn,
    n: int,
    resamples: int = 1000,
    seed: int = 0,
    clusters: np.ndarray | None = None,
) -> dict[str, Estimate]:
    """Numbers of n items by name, each with a percentile interval over the same resampled items, or clusters of them.

    Resamples where a number is undefined are left out of its interval.
    """
    if n == 0:
        return dict.fromkeys(values, missing("no items"))
    blocks = [drawn(times) for times in counts(n, resamples, seed, clusters)]
    how = once(f"bootstrap, {resamples} resamples", clusters)
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
