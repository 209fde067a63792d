"""Looks at a growing sample: the published bounds, and the chance they keep."""

import numpy as np
import pytest
from scipy.stats import norm

from eval_hooks.retention.sequential import bound, crossing, spaced

FIFTHS = np.arange(1, 6) / 5


def spent_by(information: np.ndarray, spent: np.ndarray) -> np.ndarray:
    """Bounds of looks at this information by which so much of alpha is spent, (K,)."""
    found: list[float] = []
    for k, share in enumerate(np.diff(spent, prepend=0.0)):
        found.append(bound(information[: k + 1], np.array(found), share))
    return np.array(found)


@pytest.mark.parametrize(("looks", "z"), [(1, 1.960), (2, 2.178), (5, 2.413), (10, 2.555)])
def test_pococks_constants_are_crossed_in_five_percent(looks: int, z: float) -> None:
    """Pocock 1977, table 1; Jennison and Turnbull 2000, table 2.1: equal steps, two-sided."""
    steps = np.arange(1.0, looks + 1)
    ever = sum(crossing(steps[:k], np.full(k, z)) for k in range(1, looks + 1))
    assert ever == pytest.approx(0.05, abs=1e-4)


def test_the_bounds_of_lan_and_demets_are_the_published_ones() -> None:
    """Five equal steps, two-sided 5 %: their spending functions in the manner of Pocock, and of O'Brien and Fleming."""
    pocock = 0.05 * np.log(1 + (np.e - 1) * FIFTHS)
    assert spent_by(FIFTHS, pocock) == pytest.approx([2.4380, 2.4268, 2.4101, 2.3966, 2.3859], abs=1.5e-4)
    fleming = 4 * norm.sf(norm.isf(0.0125) / np.sqrt(FIFTHS))
    assert spent_by(FIFTHS, fleming) == pytest.approx([4.8769, 3.3569, 2.6803, 2.2898, 2.0310], abs=1.5e-4)


@pytest.mark.parametrize("alpha", [0.05, 1e-4])
def test_unequal_steps_spend_what_they_are_given(alpha: float) -> None:
    """Steps of a real schedule, from a fortieth of the information to nearly all; bounds to four digits of the sum."""
    information = 1 / (1 / np.array([0.03, 0.06, 0.09, 0.12, 0.16, 0.22, 0.3, 0.41, 0.6, 0.8, 0.95]) - 1)
    found = spent_by(information, alpha * np.arange(1, 12) / 11)
    ever = sum(crossing(information[:k], found[:k]) for k in range(1, 12))
    assert ever == pytest.approx(alpha, rel=1e-4)


def test_a_step_too_narrow_to_be_seen_is_taken_as_the_least() -> None:
    assert spaced(np.array([1.0, 1.0, 3.0])).tolist() == [1.0, 1.02, 3.0]
    assert np.isfinite(bound(np.array([1.0, 1.0 + 1e-9]), np.array([2.5]), 0.01))
