"""The interval of a paired change from counts: published numbers, hand-worked ones, the order of counts, levels."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq, minimize_scalar
from scipy.stats import binomtest, norm

from eval_hooks.retention import delta_estimate, retention, verdict
from eval_hooks.retention.interval import change_interval, paired_change, score_low, wald_low
from tests.eval_hooks.tables import right_or_wrong


def both(end: object, lost: int, gained: int, n: int, level: float) -> tuple[float, float]:
    """Both ends of one of the two intervals, from its lower end."""
    down, up, n = (np.array(float(count)) for count in (lost, gained, n))
    return float(end(down, up, n, level)), -float(end(up, down, n, level))


@pytest.mark.parametrize(
    ("lost", "gained", "n", "level", "low", "high", "digits"),
    [(16, 6, 161, 0.95, -0.1240, -0.0054, 4), (7, 1, 21, 0.95, -0.517, -0.026, 3), (25, 28, 618, 0.90, -0.0148, 0.0247, 4)],
)  # fmt: skip
def test_the_score_interval_is_the_published_one(
    lost: int, gained: int, n: int, level: float, low: float, high: float, digits: int
) -> None:
    """The paired tables of Fagerland, Lydersen, Laake 2017 (Statistical Analysis of Contingency Tables, chapter 8).

    Complete response before and after therapy, (59, 6, 16, 80), and airway hyper-responsiveness, (1, 1, 7, 12), as R's
    contingencytables and ratesci have them; then R's PropCIs, scoreci.mp(25, 28, 618, .90).
    """
    assert both(score_low, lost, gained, n, level) == pytest.approx((low, high), abs=0.51 * 10**-digits)


@pytest.mark.parametrize(("lost", "gained", "n"), [(0, 0, 570), (4, 0, 570), (7, 1, 570), (3, 20, 100), (12, 12, 30)])
@pytest.mark.parametrize("level", [0.95, 0.999])
def test_the_score_interval_is_where_the_statistic_is_z(lost: int, gained: int, n: int, level: float) -> None:
    """The share lost given the change is found by scipy as the likeliest, not by the quadratic; Tango 1998, section 3."""
    z = norm.ppf((1 + level) / 2)

    def unlikely(q: float, d: float) -> float:
        pairs = ((lost, q), (gained, q + d), (n - lost - gained, 1 - 2 * q - d))
        return -sum(count * np.log(max(p, 1e-300)) for count, p in pairs if count)

    def off(d: float) -> float:
        q = minimize_scalar(unlikely, bounds=(max(0.0, -d), (1 - d) / 2), args=(d,), method="bounded", options={"xatol": 1e-13}).x  # fmt: skip
        return (gained - lost - n * d) ** 2 - z * z * n * (2 * q + d - d * d)

    value = (gained - lost) / n
    found = both(score_low, lost, gained, n, level)
    if lost + gained:
        assert found[0] == pytest.approx(brentq(off, -1 + 1e-9, value - 1e-9), abs=2e-6)
        assert found[1] == pytest.approx(brentq(off, value + 1e-9, 1 - 1e-9), abs=2e-6)
    else:  # n d^2 = z^2 (|d| - d^2)
        assert found == pytest.approx((-z * z / (n + z * z), z * z / (n + z * z)), abs=1e-12)


def test_the_adjusted_wald_interval_by_hand() -> None:
    """3 lost, 0 gained of 18: (1 - 4) / 20 = -.15, half width 1.96 sqrt((.25 - .0225) / 20) = .209036."""
    assert both(wald_low, 3, 0, 18, 0.95) == pytest.approx((-0.15 - 0.209036, -0.15 + 0.209036), abs=1e-5)


def test_the_interval_is_the_hull_of_both() -> None:
    """29 lost, 69 gained of 570, p = 7e-5: nothing but the wider end on either side."""
    found = paired_change(29, 69, 570)
    ends = [both(end, 29, 69, 570, 0.95) for end in (score_low, wald_low)]
    assert (found.low, found.high) == (min(low for low, _ in ends), max(high for _, high in ends))
    assert found.value == pytest.approx(40 / 570) and found.n == 570


counts = st.integers(1, 400).flatmap(
    lambda n: st.tuples(st.integers(0, n), st.integers(0, n), st.just(n)).filter(lambda c: c[0] + c[1] <= n)
)
levels = st.floats(0.5, 0.99999)


@given(counts, levels)
@settings(max_examples=300, deadline=None)
def test_one_more_item_lost_never_raises_either_end_and_one_more_gained_never_lowers_it(
    drawn: tuple[int, int, int], level: float
) -> None:
    lost, gained, n = drawn
    here = np.array(change_interval(lost, gained, n, level))
    if lost + gained < n:
        assert (np.array(change_interval(lost + 1, gained, n, level)) <= here + 1e-12).all()
        assert (np.array(change_interval(lost, gained + 1, n, level)) >= here - 1e-12).all()
    if gained:
        assert (np.array(change_interval(lost + 1, gained - 1, n, level)) <= here + 1e-12).all()


@given(counts, levels)
@settings(max_examples=200, deadline=None)
def test_it_holds_the_change_turns_with_it_and_widens_with_the_level(drawn: tuple[int, int, int], level: float) -> None:
    lost, gained, n = drawn
    low, high = change_interval(lost, gained, n, level)
    assert -1 <= low <= (gained - lost) / n + 1e-12 and (gained - lost) / n - 1e-12 <= high <= 1
    assert change_interval(gained, lost, n, level) == pytest.approx((-high, -low), abs=1e-12)
    wider = change_interval(lost, gained, n, (1 + level) / 2)
    assert wider[0] <= low + 1e-12 and wider[1] >= high - 1e-12


@pytest.mark.parametrize("level", [0.95, 0.99, 0.999])
def test_none_of_1800_tables_breaks_the_order(level: float) -> None:
    """All counts of 60 items at once; arrays give what single counts give."""
    lost, gained = np.meshgrid(np.arange(61.0), np.arange(61.0), indexing="ij")
    there = lost + gained <= 60
    ends = [np.where(there, end, np.nan) for end in change_interval(lost * there, gained * there, 60, level)]
    for end in ends:
        assert np.nanmax(np.diff(end, axis=0)) <= 1e-12 and np.nanmin(np.diff(end, axis=1)) >= -1e-12
    assert (ends[0][7, 1], ends[1][7, 1]) == change_interval(7, 1, 60, level)


@given(counts, levels)
@settings(max_examples=300, deadline=None)
def test_dropped_and_gained_are_said_only_where_the_exact_test_rejects_too(
    drawn: tuple[int, int, int], level: float
) -> None:
    lost, gained, n = drawn
    word = verdict(paired_change(lost, gained, n, level), margin=0.02)
    p = binomtest(lost, lost + gained).pvalue if lost + gained else 1.0
    assert word not in ("dropped", "gained") or p < 1 - level + 1e-12


@pytest.mark.parametrize(("lost", "gained", "p"), [(7, 1, 0.0703125), (4, 0, 0.125)])
def test_a_few_items_lost_are_no_drop_beside_a_p_that_says_chance(lost: int, gained: int, p: float) -> None:
    """Of 570; 8 and 1 are p = 20 / 512 = .039, and 6 and 0 p = 2 / 64 = .031: those are."""
    before = [1] * (570 - gained) + [0] * gained
    entry = retention(right_or_wrong(before), right_or_wrong([0] * lost + [1] * (570 - lost)), 0.02, 0.5)
    assert (entry["lost"], entry["gained"], entry["mcnemar_p"]) == (lost, gained, p)
    assert entry["verdict"] != "dropped" and entry["delta"]["high"] >= 0
    assert entry["delta"]["method"].startswith("paired counts")
    assert {verdict(paired_change(b, c, 570), 0.02) for b, c in ((8, 1), (6, 0))} == {"dropped"}


def test_an_item_lost_is_no_better_than_none() -> None:
    """Of 160 at a margin of 2 points: none lost is within .0234, one within .0345; both leave it open."""
    for lost, low in ((0, -0.0234), (1, -0.0345)):
        found = delta_estimate(np.ones(160), np.arange(160) >= lost)
        assert found.low == pytest.approx(low, abs=1e-4) and verdict(found, 0.02) == "undecided"
