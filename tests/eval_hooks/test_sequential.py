"""Looks at a growing sample: the published bounds, the chance they keep, and a value without the bias of its ending."""

import numpy as np
import pytest
from scipy.stats import norm

from eval_hooks.retention.sequential import bound, crossing, spaced, unbiased

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


@pytest.mark.parametrize("change", [-1.5, 0.0, 0.8])
def test_the_value_has_no_bias_where_the_plain_one_has(change: float) -> None:
    """40,000 walks of five looks that end beyond 2.4 standard errors: means within 4 standard errors of the change."""
    rng, information = np.random.default_rng(0), np.array([0.5, 1.0, 1.5, 3.0, 6.0])
    steps = np.diff(information, prepend=0.0)
    score = np.cumsum(rng.normal(change * steps, np.sqrt(steps), (40_000, 5)), axis=1)
    beyond = np.abs(score) > 2.4 * np.sqrt(information)
    ends = np.where(beyond.any(axis=1), beyond.argmax(axis=1), 4)
    plain = score[np.arange(len(score)), ends] / information[ends]
    edges = 2.4 / np.sqrt(information)
    grid = np.linspace(plain.min(), plain.max(), 400)
    mended = np.empty(len(plain))
    for k in range(5):
        table = [unbiased(information[: k + 1], edges[:k], value) for value in grid]
        mended[ends == k] = np.interp(plain[ends == k], grid, table)
    error = mended.std() / np.sqrt(len(mended))
    assert abs(mended.mean() - change) < 4 * error + 1e-3
    if change:
        assert abs(plain.mean() - change) > 20 * error, "the plain one is far off, so this shows something"


def test_a_first_look_and_edges_never_near_leave_the_value_as_it_is() -> None:
    assert unbiased(np.array([4.0]), np.array([]), 0.3) == 0.3
    assert unbiased(np.array([1.0, 2.0, 4.0]), np.array([9.0, 9.0]), 0.3) == pytest.approx(0.3, abs=1e-6)
