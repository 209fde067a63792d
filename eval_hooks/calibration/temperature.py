"""Temperature scaling: one number that makes confidences fit, found on validation items, never on those reported.

    T = argmin_T - mean_i log softmax(z_i / T)_gold        (Guo et al. 2017, arXiv:1706.04599, section 4.2)

Predictions do not change. Worked by hand: four items of two options, all with a gap of 2 between them, three of them
right: softmax(2 / T) = 3/4, so T = 2 / ln 3 = 1.8205.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from eval_hooks.errors import EvalError
from eval_hooks.intervals import Drawn

LEAST, MOST = 0.05, 20.0
"""Bounds of T: with every item right it would go to 0."""


@dataclass(frozen=True, kw_only=True)
class Temperature:
    """The fitted number."""

    value: float
    n: int
    """Items it was fitted on."""
    at_bound: bool
    """It would have gone on: all items right, or confidence without any meaning."""


def fit_temperature(scores: np.ndarray, gold: np.ndarray, split: str = "validation") -> Temperature:
    """T of option scores (n, K; -inf where an item has fewer options) and right options (n,).

    Raises EvalError for items of a split that is reported, and for fewer than two items.
    """
    if split == "test":
        raise EvalError("a temperature fitted on the test split makes calibration on it meaningless; name validation")
    if len(gold) < 2:
        raise EvalError(f"a temperature needs at least 2 validation items, got {len(gold)}")

    def loss(log_t: float) -> float:
        return float(-log_softmax(scores / np.exp(log_t), axis=1)[np.arange(len(gold)), gold].mean())

    found = minimize_scalar(loss, bounds=(np.log(LEAST), np.log(MOST)), method="bounded", options={"xatol": 1e-6})
    value = float(np.exp(found.x))
    return Temperature(value=value, n=len(gold), at_bound=not 1.2 * LEAST < value < MOST / 1.2)


def temperatures(scores: np.ndarray, gold: np.ndarray) -> Drawn:
    """T of resamples, from how often each item was drawn: counts (R, n) -> (R,).

    The loss is convex in 1 / T, so the sign of its slope, summed over the drawn items on a grid of log T (steps of
    .012), says between which two points the minimum lies; there the slope is taken as straight.
    """
    grid, finite = np.linspace(np.log(LEAST), np.log(MOST), 512), np.where(np.isfinite(scores), scores, 0.0)
    right = finite[np.arange(len(gold)), gold]
    slope = np.stack([(scaled(scores, np.exp(log_t)) * finite).sum(1) - right for log_t in grid], axis=1)  # in 1 / T

    def drawn(counts: np.ndarray) -> dict[str, np.ndarray]:
        summed, row = counts @ slope, np.arange(len(counts))
        above = np.clip((summed > 0).sum(1), 1, len(grid) - 1)
        before, after = summed[row, above - 1], summed[row, above]
        part = np.clip(np.divide(before, before - after, out=np.zeros_like(before), where=before != after), 0.0, 1.0)
        return {"temperature": np.exp(grid[above - 1] + part * (grid[1] - grid[0]))}

    return drawn


def scaled(scores: np.ndarray, temperature: float) -> np.ndarray:
    """Probabilities (n, K) at a temperature."""
    return np.exp(log_softmax(scores / temperature, axis=1))
