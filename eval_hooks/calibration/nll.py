"""Negative log-likelihood of the right option, in nats, over the options."""

import numpy as np

FLOOR = 1e-12


def nll(p_gold: np.ndarray) -> np.ndarray:
    """Per item -log p of the right option, p clipped at 1e-12: (n,) -> (n,)."""
    return -np.log(np.maximum(p_gold, FLOOR))


def clipped(p_gold: np.ndarray) -> int:
    """How many were clipped."""
    return int((p_gold < FLOOR).sum())
