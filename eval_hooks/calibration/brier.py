"""Brier scores (Brier 1950) and their decomposition.

Murphy 1973, with the within-bin terms of Stephenson, Coelho and Jolliffe 2008.
"""

from dataclasses import dataclass

import numpy as np

from eval_hooks.calibration.ece import BINS, width_bins


def brier(p: np.ndarray, gold: np.ndarray) -> np.ndarray:
    """Per item sum over options of (p_k - y_k)^2, range 0 to 2: (n, K), (n,) -> (n,)."""
    y = np.zeros_like(p)
    y[np.arange(len(gold)), gold] = 1.0
    return ((p - y) ** 2).sum(axis=1)


def brier_top_label(conf: np.ndarray, correct: np.ndarray) -> np.ndarray:
    """Per item (conf - correct)^2, range 0 to 1."""
    return (conf - correct) ** 2


@dataclass(frozen=True, kw_only=True)
class Decomposition:
    """Top-label Brier = reliability - resolution + uncertainty + within_variance - within_covariance, exactly."""

    reliability: float
    resolution: float
    uncertainty: float
    within_variance: float
    within_covariance: float


def decompose(conf: np.ndarray, correct: np.ndarray, bins: int = BINS) -> Decomposition:
    """Murphy's terms over equal-width bins, and the two that make the identity hold where conf varies inside a bin."""
    n, base = len(conf), correct.mean()
    rel = res = wbv = wbc = 0.0
    bin_of = width_bins(conf, bins)
    for number in np.unique(bin_of):
        inside = bin_of == number
        c, y, w = conf[inside], correct[inside], inside.sum() / n
        rel += w * (c.mean() - y.mean()) ** 2
        res += w * (y.mean() - base) ** 2
        wbv += w * ((c - c.mean()) ** 2).mean()
        wbc += w * 2 * ((c - c.mean()) * (y - y.mean())).mean()
    return Decomposition(
        reliability=float(rel),
        resolution=float(res),
        uncertainty=float(base * (1 - base)),
        within_variance=float(wbv),
        within_covariance=float(wbc),
    )
