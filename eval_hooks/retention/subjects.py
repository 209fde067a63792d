"""Change by subject and by category: what was forgotten, where, and how sure that is when many places are looked at.

Clustered intervals take the subjects as a sample of subjects, so that they hold for new ones. Holm's step-down keeps
the chance of any false alarm at the level, over all subjects together (Holm 1979).
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa

from eval_hooks.copies import clusters_of
from eval_hooks.estimate import Estimate, missing
from eval_hooks.retention.flips import mcnemar_exact
from eval_hooks.retention.interval import Clusters
from eval_hooks.retention.spending import ALPHA
from eval_hooks.stats.clustered import clustered_interval
from eval_hooks.table import column

FEWEST_SUBJECTS = 5
"""Under which nothing is said of new ones: the interval leans on few spreads, and is wide at any rate."""


def clustered_mean(values: np.ndarray, clusters: np.ndarray, alpha: float = ALPHA) -> Estimate:
    """Mean of values (n,), with its interval for new clusters, of which each item has a name; missing with too few."""
    names, of = np.unique(clusters, return_inverse=True)
    if len(names) < FEWEST_SUBJECTS:
        return missing(f"new subjects need {FEWEST_SUBJECTS} to be told from, there are {len(names)}", len(values))
    low, high = clustered_interval(np.bincount(of, weights=values), np.bincount(of), alpha)
    return Estimate(
        value=float(values.mean()), low=float(low), high=float(high), n=len(values),
        method=f"jackknife over {len(names)} whole subjects",
    )  # fmt: skip


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
    """Per subject, or per group of subjects: n, accuracy, items lost and gained, and Holm's p that it changed.

    Where there are copies of items `once` has the same counts of clusters, and what the items are worth.
    """
    groups = np.array([group_of(name) for name in column(table, "subject").tolist()])
    after = column(table, "correct").astype(bool)
    before = column(baseline, "correct").astype(bool) if baseline is not None else after
    change, clusters = after.astype(float) - before, clusters_of(table)
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
        if clusters is not None:
            out[name]["once"] = asdict(Clusters.of(change[inside], clusters[inside]))
    flips = [entry.get("once", entry) for entry in out.values()]
    each = [mcnemar_exact(one["lost"], one["gained"]) for one in flips]
    for entry, p in zip(out.values(), holm(each), strict=True):
        entry["p_holm"] = p if baseline is not None else None
    return out
