"""The paired change of a score that is no count of right answers: nats a word, a mark out of 100.

With items' changes x_i and weights w_i, d = sum w x / sum w. Each item stands for u_i = d + w_i (x_i - d) / mean(w),
whose mean is d and whose spread is that of the ratio (linearised: Cochran 1977, Sampling Techniques, section 6.3).
The interval is the wider of Student's on u and of the bootstrap's.
"""

import numpy as np
from scipy.stats import t as student

from eval_hooks.copies import worth
from eval_hooks.estimate import Estimate, missing
from eval_hooks.intervals import bootstrap_mean, once
from eval_hooks.stats.clustered import clustered_interval


def linearised(x: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
    """What each item stands for in the weighted mean of x (n,), (n,); NaN where all weights are 0."""
    if weights is None:
        return x
    if not weights.sum() > 0:
        return np.full(len(x), np.nan)
    mean = float(weights @ x / weights.sum())
    return mean + weights * (x - mean) / weights.mean()


def score_mean(
    x: np.ndarray, weights: np.ndarray | None = None, alpha: float = 0.05, clusters: np.ndarray | None = None
) -> Estimate:
    """Weighted mean of scores (n,) with its interval at 1 - alpha; none of one item, and all there is at alpha 0.

    Missing where an item has no score.
    """
    u, n = linearised(x, weights), len(x)
    if not n or not np.isfinite(u).all():
        return missing("no items" if not n else "an item has no score that a mean can be taken of", n)
    value = float(u.mean())
    if alpha <= 0:
        return Estimate(value=value, n=n, reason="nothing may be claimed any more")
    if worth(n, clusters) < 2:
        return Estimate(value=value, n=n, reason="one item has no spread, so no interval")
    low, high = _student(u, alpha, clusters)
    found = bootstrap_mean(u, alpha=alpha, clusters=clusters)
    assert found.low is not None and found.high is not None
    how = once("wider of Student's and bootstrap, 10000 resamples", clusters)
    return Estimate(value=value, low=min(low, found.low), high=max(high, found.high), n=n, method=how)


def _student(u: np.ndarray, alpha: float, clusters: np.ndarray | None) -> tuple[float, float]:
    if clusters is not None:
        low, high = clustered_interval(np.bincount(clusters, weights=u), np.bincount(clusters), alpha)
        return float(low), float(high)
    half = float(student.isf(alpha / 2, len(u) - 1) * u.std(ddof=1) / np.sqrt(len(u)))
    return float(u.mean()) - half, float(u.mean()) + half


def direction(change: Estimate, better: str) -> str:
    """`gained` or `dropped` where the interval leaves out 0, else `undecided`: no margin is known of such a score."""
    if change.low is None or change.high is None or change.low <= 0 <= change.high:
        return "undecided"
    return "gained" if (change.low > 0) == (better == "up") else "dropped"
