"""Smooth ECE: no bins; residuals are smoothed at the scale that equals the error (Blasiok, Nakkiran, arXiv:2309.12236).

relplot computes it of one sample. Its steps (a grid, a Gaussian reflected at 0 and 1, ten halvings for the scale) are
linear in the items but for the last, so they are made here for all resamples of a bootstrap at once.
"""

from functools import cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from scipy.sparse import csr_array

HALVINGS, SMALLEST = 10, 0.001
"""Steps of the search for the scale, and the scale below which it is small enough: relplot's."""
EMPTY = 1e-4
"""Added to the density everywhere, as relplot does."""


def smooth_ece(conf: np.ndarray, correct: np.ndarray) -> float:
    """Of confidences (n,) and 0/1 correctness (n,)."""
    from relplot import smECE

    return float(smECE(np.clip(conf, 0.0, 1.0), correct))


def smooth_eces(conf: np.ndarray, correct: np.ndarray, counts: np.ndarray) -> np.ndarray:  # (n,), (n,), (R, n) -> (R,)
    """`smooth_ece` of R samples that hold item i `counts[r, i]` times."""
    conf = np.clip(conf, 0.0, 1.0)
    weighted = counts * (conf - correct)

    @cache
    def gridded(points: int) -> tuple[np.ndarray, np.ndarray]:
        cells = on_grid(conf, points)
        return weighted @ cells, counts @ cells

    def error(scale: float, rows: np.ndarray) -> np.ndarray:
        residual, mass = (smoothed(values[rows], scale) for values in gridded(grid_points(scale)))
        return np.abs(residual).sum(1) / (mass + EMPTY).sum(1)

    def errors(scales: np.ndarray) -> np.ndarray:
        out = np.empty(len(scales))
        for scale in np.unique(scales):
            rows = np.flatnonzero(scales == scale)
            out[rows] = error(float(scale), rows)
        return out

    high, low = np.ones(len(counts)), np.zeros(len(counts))
    for _ in range(HALVINGS):
        middle = (high + low) / 2
        below = (middle < SMALLEST) | (middle < errors(middle))
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return errors(high)


def grid_points(scale: float) -> int:
    """Points of the grid on which a scale is smoothed."""
    return max(2000, round(20 / scale)) // 2 + 1


def on_grid(conf: np.ndarray, points: int) -> "csr_array":  # (n,) -> (n, points)
    """Each confidence shared out between the two points it lies between."""
    from scipy.sparse import coo_array

    cell = (conf * (points - 1)).astype(int).clip(0, points - 2)
    part, item = conf * (points - 1) - cell, np.arange(len(conf))
    shares, places = np.concatenate([1 - part, part]), np.concatenate([cell, cell + 1])
    return coo_array((shares, (np.tile(item, 2), places)), shape=(len(conf), points)).tocsr()


def smoothed(values: np.ndarray, scale: float) -> np.ndarray:  # (R, points) -> (R, places)
    """Values on the grid under a Gaussian that is reflected at the ends, read at places between 0 and 1."""
    from relplot.kernels import GaussianKernel
    from scipy.signal import fftconvolve

    points = values.shape[1]
    mirror = values[:, ::-1]
    long = np.concatenate([mirror[:, :-1], values, mirror[:, 1:]], axis=1)
    kernel = GaussianKernel(scale).kernel_ev(points)[None]
    found = fftconvolve(long, kernel, mode="valid", axes=1)[:, points // 2 : points // 2 + points]
    place = np.linspace(0, 1, max(round(10 / scale), 200)) * (points - 1)
    left = place.astype(int).clip(0, points - 2)
    right = place - left
    return found[:, left] * (1 - right) + found[:, left + 1] * right
