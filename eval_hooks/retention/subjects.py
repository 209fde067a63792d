"""Change by subject and by category: what was forgotten, where, and how sure that is when many places are looked at.

Clustered intervals take the subjects as a sample of subjects: whole ones are resampled. Holm's step-down keeps the
chance of any false alarm at the level, over all subjects together (Holm 1979).
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from eval_hooks.estimate import Estimate, missing
from eval_hooks.retention.flips import mcnemar_exact
from eval_hooks.table import column


def clustered_mean(values: np.ndarray, clusters: np.ndarray, resamples: int = 10_000, seed: int = 0) -> Estimate:
    """Mean of values (n,), with an interval over resampled clusters (n,) names; missing with fewer than two."""
    names, of = np.unique(clusters, return_inverse=True)
    if len(names) < 2:
        return missing("items of one subject are no sample of subjects", len(values))
    sums, sizes = np.bincount(of, weights=values), np.bincount(of)
    rng = np.random.default_rng(seed)
    drawn = rng.integers(0, len(names), (resamples, len(names)))
    low, high = np.quantile(sums[drawn].sum(1) / sizes[drawn].sum(1), [0.025, 0.975])
    return Estimate(
        value=float(values.mean()), low=float(low), high=float(high), n=len(values),
        method=f"{len(names)} whole subjects resampled, {resamples} times",
    )  # fmt: skip


def clustered_se(values: np.ndarray, clusters: np.ndarray) -> float:
    """Standard error of the mean (n values in G clusters): sqrt(G / (G - 1) sum_g (sum_in_g (x - mean))^2) / n."""
    names, of = np.unique(clusters, return_inverse=True)
    sums = np.bincount(of, weights=values - values.mean())
    return float(np.sqrt(len(names) / (len(names) - 1) * (sums**2).sum()) / len(values))


def holm(p: Sequence[float]) -> list[float]:
    """Adjusted p values, in the order given: the k-th smallest times m - k + 1, never under the one before."""
    order = np.argsort(p, kind="stable")
    steps = np.array(p)[order] * (len(p) - np.arange(len(p)))
    out = np.empty(len(p))
    out[order] = np.minimum(1.0, np.maximum.accumulate(steps))
    return out.tolist()


def by_group(
    table: pa.Table, baseline: pa.Table | None, group_of: Callable[[str], str] = str
) -> dict[str, dict[str, Any]]:
    """Per subject, or per group of subjects: n, accuracy, items lost and gained, and Holm's p that it changed."""
    groups = np.array([group_of(name) for name in column(table, "subject").tolist()])
    after = column(table, "correct").astype(bool)
    before = column(baseline, "correct").astype(bool) if baseline is not None else after
    out: dict[str, dict[str, Any]] = {}
    for name in dict.fromkeys(groups.tolist()):
        inside = groups == name
        a, b = before[inside], after[inside]
        out[name] = {
            "n": int(inside.sum()),
            "accuracy": float(b.mean()),
            "lost": int((a & ~b).sum()),
            "gained": int((~a & b).sum()),
        }
    for entry, p in zip(out.values(), holm([mcnemar_exact(e["lost"], e["gained"]) for e in out.values()]), strict=True):
        entry["p_holm"] = p if baseline is not None else None
    return out
