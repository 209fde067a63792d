"""Accuracy where every subject counts alike."""

import numpy as np
import pyarrow as pa

from eval_hooks.copies import clusters_of
from eval_hooks.estimate import Estimate
from eval_hooks.intervals import Z, once
from eval_hooks.table import column


def macro(table: pa.Table) -> Estimate:
    """Unweighted mean of the subjects' accuracies, with the subjects as they are and items drawn within them.

    The interval is normal, cut at 0 and 1.

    With S subjects and r_i = (x_i - mean of its subject) / (S n_s) sqrt(n_s / (n_s - 1)) the error is
    sqrt(sum (sum of r over the copies of an item)^2): of items without copies that of a stratified mean.
    """
    subjects, correct = column(table, "subject"), column(table, "correct").astype(float)
    _, of, sizes = np.unique(subjects, return_inverse=True, return_counts=True)
    means, n = np.bincount(of, weights=correct) / sizes, len(correct)
    value = float(means.mean())
    if sizes.min() < 2:
        return Estimate(value=value, n=n, reason="a subject with one item has no spread, so no interval")
    residuals = (correct - means[of]) / (len(sizes) * np.sqrt(sizes * (sizes - 1.0)))[of]
    clusters = clusters_of(table)
    summed = residuals if clusters is None else np.bincount(clusters, weights=residuals)
    half = Z * np.sqrt((summed**2).sum())
    return Estimate(
        value=value, low=max(0.0, float(value - half)), high=min(1.0, float(value + half)), n=n,
        method=once("stratified by subject, normal", clusters),
    )  # fmt: skip
