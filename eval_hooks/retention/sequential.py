"""Looks at a growing sample: the bound of each look.

The estimates D_1, D_2, ... of nested samples have cov(D_i, D_j) = var(D_j) for i < j, so with I_j = 1 / var(D_j) the
scores S_j = I_j D_j move by independent normal steps of mean D (I_j - I_{j-1}) and variance I_j - I_{j-1} (Jennison,
Turnbull 2000, Group Sequential Methods, section 3.1). Their density inside the bounds follows from look to look by one
integral (Armitage, McPherson, Rowe 1969), here over Gauss-Legendre points, in logarithms.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import log_ndtr

POINTS, WEIGHTS = np.polynomial.legendre.leggauss(64)
LEAST_STEP = 0.02
"""Share by which information grows from look to look at least: narrower steps fall between the points."""


@dataclass(frozen=True, kw_only=True)
class _Inside:
    """Where the score may be after looks that did not end: (M,) each."""

    score: np.ndarray
    log_mass: np.ndarray


def bound(information: np.ndarray, bounds: np.ndarray, share: float) -> float:
    """The z of the newest look: the chance to cross first here, |S_k| > z sqrt(I_k), is `share` under no change.

    `information` is that of all looks (k,), `bounds` the z of those before (k - 1,). The shares of all looks add up to
    the chance of ever crossing: error spending (Slud, Wei 1982, JASA 77:862; Lan, DeMets 1983, Biometrika 70:659).
    """
    from scipy.optimize import brentq

    steps = spaced(information)
    inside = _inside(steps[:-1], bounds * np.sqrt(steps[:-1]))
    return float(brentq(lambda z: _beyond(inside, steps, z) - np.log(share), 0.0, 15.0, xtol=1e-6))


def crossing(information: np.ndarray, bounds: np.ndarray) -> float:
    """Chance that |Z| stays within its bounds (k,) at all looks but the last and is beyond there, under no change."""
    inside = _inside(information[:-1], bounds[:-1] * np.sqrt(information[:-1]))
    return float(np.exp(_beyond(inside, information, bounds[-1])))


def _beyond(inside: _Inside, information: np.ndarray, z: float) -> float:
    """Log of the chance to go from inside to beyond z at the newest look."""
    edge, step = (
        z * np.sqrt(information[-1]),
        np.sqrt(information[-1] - (information[-2] if len(information) > 1 else 0)),
    )
    beyond = np.logaddexp(log_ndtr((inside.score - edge) / step), log_ndtr((-inside.score - edge) / step))
    return float(_log_sum(inside.log_mass + beyond))


def spaced(information: np.ndarray) -> np.ndarray:
    """Information of the looks, each step not under the least that is resolved."""
    out = np.array(information, dtype=float)
    for k in range(1, len(out)):
        out[k] = max(out[k], out[k - 1] * (1 + LEAST_STEP))
    return out


def _inside(information: np.ndarray, edges: np.ndarray) -> _Inside:
    """After looks (k,) whose scores all stayed within their edges, under no change. None yet: a score of 0."""
    found = _Inside(score=np.zeros(1), log_mass=np.zeros(1))
    for edge, step in zip(edges, np.diff(information, prepend=0.0), strict=True):
        score = edge * POINTS
        way = score[:, None] - found.score
        log_density = -(way**2) / (2 * step) - np.log(2 * np.pi * step) / 2
        found = _Inside(score=score, log_mass=_log_sum(found.log_mass + log_density) + np.log(edge * WEIGHTS))
    return found


def _log_sum(logs: np.ndarray) -> np.ndarray:
    """Log of the sum of what has these logarithms, over the last axis; scipy's takes five times as long."""
    top = logs.max(axis=-1, keepdims=True)
    return np.asarray(np.log(np.exp(logs - top).sum(axis=-1)) + top[..., 0])
