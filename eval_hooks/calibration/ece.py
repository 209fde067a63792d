"""Expected calibration error: the mean gap between confidence and accuracy, over bins.

    ECE = sum_m |B_m| / n * |acc(B_m) - conf(B_m)|       (Naeini et al. 2015; Guo et al. 2017, arXiv:1706.04599,
    equation 3)

Equal width: bins ((m-1)/M, m/M], 0 goes to the first. Equal mass: sorted by confidence (stable), M groups of size floor
or ceil(n/M). The plug-in estimate is biased up by noise of the order sqrt(M/n), so its interval covers the estimate's
spread, not the true error; no coverage is claimed for it. Beside it stands the debiased one (Kumar, Liang, Ma 2019,
arXiv:1909.10155): minus what the same estimator would gain if each bin's accuracy were drawn anew.
"""

from typing import Any

import numpy as np
from scipy.stats import norm

from eval_hooks.copies import worth
from eval_hooks.intervals import wilson

BINS = 15


def width_bins(conf: np.ndarray, bins: int = BINS) -> np.ndarray:
    """Bin index (n,) of equal-width bins, open on the left."""
    return np.clip(np.ceil(conf * bins).astype(int) - 1, 0, bins - 1)


def mass_bins(conf: np.ndarray, bins: int = BINS) -> np.ndarray:
    """Bin index (n,) of equal-mass bins; equal confidences across an edge keep their order."""
    out = np.empty(len(conf), dtype=int)
    for number, group in enumerate(np.array_split(np.argsort(conf, kind="stable"), bins)):
        out[group] = number
    return out


def gap_sums(conf: np.ndarray, correct: np.ndarray, bin_of: np.ndarray, bins: int) -> tuple[np.ndarray, np.ndarray]:
    """Per bin: number of items, and sum of (correct - conf)."""
    return np.bincount(bin_of, minlength=bins), np.bincount(bin_of, weights=correct - conf, minlength=bins)


def ece(conf: np.ndarray, correct: np.ndarray, bins: int = BINS, equal_mass: bool = False) -> float:
    """Expected calibration error of confidences (n,) and 0/1 correctness (n,)."""
    bin_of = mass_bins(conf, bins) if equal_mass else width_bins(conf, bins)
    return float(np.abs(gap_sums(conf, correct, bin_of, bins)[1]).sum() / len(conf))


def ece_debiased(conf: np.ndarray, correct: np.ndarray, bins: int = BINS) -> float:
    """ECE over equal-width bins less its expected excess, at least 0."""
    bin_of = width_bins(conf, bins)
    right = np.bincount(bin_of, weights=correct, minlength=bins)
    return float(debiased(*gap_sums(conf, correct, bin_of, bins), right))


def debiased(counts: np.ndarray, sums: np.ndarray, right: np.ndarray) -> np.ndarray:
    """The same from each bin's items, sum of (correct - conf), and right items: (..., bins) -> (...).

    The excess is E|gap + e| - |gap| summed over bins by weight, e normal with the variance of a bin's accuracy: the
    folded normal's mean in place of resampling.
    """
    n = np.maximum(counts, 1)
    gap, accuracy = np.abs(sums / n), right / n
    sd = np.sqrt(accuracy * (1 - accuracy) / n)
    ratio = np.divide(gap, sd, out=np.full_like(gap, np.inf), where=sd > 0)
    expected = np.where(sd > 0, 2 * sd * norm.pdf(ratio) + gap * (1 - 2 * norm.cdf(-ratio)), gap)
    return np.maximum(0.0, (counts * (2 * gap - expected)).sum(-1) / counts.sum(-1))


def rms_ce(conf: np.ndarray, correct: np.ndarray, bins: int = BINS) -> float:
    """Root of the weighted mean of the squared gaps (Hendrycks et al. 2019, arXiv:1812.04606), equal-mass bins."""
    return float(root_mean_square(*gap_sums(conf, correct, mass_bins(conf, bins), bins)))


def root_mean_square(counts: np.ndarray, sums: np.ndarray) -> np.ndarray:
    """The same from each bin's items and sum of (correct - conf): (..., bins) -> (...)."""
    return np.sqrt((sums**2 / np.maximum(counts, 1)).sum(-1) / counts.sum(-1))


def classwise_ece(p: np.ndarray, gold: np.ndarray, bins: int = BINS) -> float:
    """Mean over options k of the ECE of (p_k, gold is k): (n, K), (n,) (Nixon et al. 2019, arXiv:1904.01685)."""
    return float(np.mean([ece(p[:, k], (gold == k).astype(float), bins) for k in range(p.shape[1])]))


def mce(conf: np.ndarray, correct: np.ndarray, bins: int = BINS, fewest: int = 1) -> float | None:
    """Largest gap over equal-width bins with at least `fewest` items; None where no bin has them."""
    found = float(largest_gap(*gap_sums(conf, correct, width_bins(conf, bins), bins), fewest))
    return None if np.isnan(found) else found


def largest_gap(counts: np.ndarray, sums: np.ndarray, fewest: int) -> np.ndarray:
    """The same from each bin's items and sum of (correct - conf): (..., bins) -> (...), NaN for None."""
    enough = counts >= fewest
    gaps = np.where(enough, np.abs(sums) / np.maximum(counts, 1), 0.0).max(-1)
    return np.where(enough.any(-1), gaps, np.nan)


def reliability(
    conf: np.ndarray, correct: np.ndarray, bins: int = BINS, clusters: np.ndarray | None = None
) -> list[dict[str, Any]]:
    """The reliability diagram: per non-empty bin its edges, n, mean confidence, accuracy with Wilson band.

    The band is that of so many items as a bin's are worth, those of a cluster being copies (`copies`).
    """
    bin_of = width_bins(conf, bins)
    out = []
    for number in range(bins):
        inside = bin_of == number
        if n := int(inside.sum()):
            of = worth(n, None if clusters is None else clusters[inside])
            low, high = wilson(float(correct[inside].sum()) * of / n, of)
            out.append(
                {"low": number / bins, "high": (number + 1) / bins, "n": n, "confidence": float(conf[inside].mean()),
                 "accuracy": float(correct[inside].mean()), "accuracy_low": low, "accuracy_high": high}
            )  # fmt: skip
    return out
