"""Expected calibration error: the mean gap between confidence and accuracy, over bins.

    ECE = sum_m |B_m| / n * |acc(B_m) - conf(B_m)|       (Naeini et al. 2015; Guo et al. 2017, arXiv:1706.04599,
    equation 3)

Equal width: bins ((m-1)/M, m/M], 0 goes to the first. Equal mass: sorted by confidence (stable), M groups of size floor
or ceil(n/M). The plug-in estimate is biased up by noise of the order sqrt(M/n), so its interval covers the estimate's
spread, not the true error.
"""

from typing import Any

import numpy as np

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


def mce(conf: np.ndarray, correct: np.ndarray, bins: int = BINS) -> float:
    """Largest gap over non-empty equal-width bins."""
    counts, sums = gap_sums(conf, correct, width_bins(conf, bins), bins)
    return float(np.abs(sums[counts > 0] / counts[counts > 0]).max())


def reliability(conf: np.ndarray, correct: np.ndarray, bins: int = BINS) -> list[dict[str, Any]]:
    """The reliability diagram: per non-empty bin its edges, n, mean confidence, accuracy with Wilson band."""
    bin_of = width_bins(conf, bins)
    out = []
    for number in range(bins):
        inside = bin_of == number
        if n := int(inside.sum()):
            low, high = wilson(int(correct[inside].sum()), n)
            out.append(
                {"low": number / bins, "high": (number + 1) / bins, "n": n, "confidence": float(conf[inside].mean()),
                 "accuracy": float(correct[inside].mean()), "accuracy_low": low, "accuracy_high": high}
            )  # fmt: skip
    return out
