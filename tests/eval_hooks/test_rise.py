"""The rise of two-bin ECE: its numbers by hand, its ends by brute force, its variance in waves by drawing."""

from itertools import product

import numpy as np
import pytest
from scipy.stats import norm

from eval_hooks.budget import crossed
from eval_hooks.calibration.rise import Gaps, ece_rise, edge_of, gaps, surplus, two_phase
from eval_hooks.config import Budget
from eval_hooks.estimate import Estimate, missing
from eval_hooks.part import part_rise
from eval_hooks.report import words
from eval_hooks.retention.interval import change_interval
from eval_hooks.table import column
from eval_hooks.waves import Drawn, Looks
from tests.benchmarks.made_confidences import Law, calibrated, over, pair, table

GOLD = np.zeros(10, dtype=int)
CONF = np.array([0.4, 0.4, 0.5, 0.5, 0.6, 0.8, 0.8, 0.9, 0.9, 0.9])
RIGHT = np.array([1, 0, 1, 0, 0, 1, 1, 1, 0, 1], dtype=bool)


def test_a_rise_by_hand() -> None:
    """Edge (.6 + .8) / 2 = .7; below it conf - right sums to .4 (.6 of 2.4 - 2), above it to .3 (4.3 - 4).

    Later every confidence below is .1 higher, so .5 more there, and one right answer above is wrong: 1.3. The rise is
    (.9 + 1.3 - .4 - .3) / 10 = .15.
    """
    before = table(CONF, RIGHT, GOLD)
    assert edge_of(before) == pytest.approx(0.7)
    assert gaps(before, 0.7).sum(axis=0) == pytest.approx([0.4, 0.3])
    later = RIGHT.copy()
    later[9] = False
    after = table(CONF + np.where(CONF < 0.6, 0.1, 0.0) + np.where(CONF == 0.6, 0.1, 0.0) * 0.99, later, GOLD)
    assert ece_rise(before, after).value == pytest.approx(0.15 - 0.0001)


def test_few_items_tell_nothing() -> None:
    nine = table(CONF[:9], RIGHT[:9], GOLD[:9])
    found = ece_rise(nine, nine)
    assert found.value is None and found.reason == "9 items are too few for a change of calibration: 10 are needed"


def test_the_same_table_twice_is_a_rise_of_0_as_sure_as_its_counts_and_its_base() -> None:
    """Inside the doubt about the base's own signs, an interval that is the same to both sides."""
    before, _ = pair(Law(name="", draw=calibrated(0.76)), 570, np.random.default_rng(0))
    found = ece_rise(before, before)
    assert found.value == 0.0 and found.low == pytest.approx(-found.high)
    least = change_interval(0, 0, 570, 1 - 2 * norm.sf(norm.isf(0.0125)))[1]
    assert found.high >= float(least) > 0


@pytest.mark.parametrize("seed", range(4))
def test_the_ends_are_those_over_all_signs_one_after_the_other(seed: int) -> None:
    before, after = pair(Law(name="", draw=over(0.05, 0.09), fresh=True), 300, np.random.default_rng(seed))
    edge, z = edge_of(before), norm.isf(0.0125)
    b, a = gaps(before, edge), gaps(after, edge)
    was, now = (column(one, "correct").astype(int) for one in (before, after))
    more = surplus(int((was > now).sum()), int((now > was).sum()), 300, z)

    def least(grown: np.ndarray, taken: np.ndarray) -> float:
        best = -np.inf
        for s in product((1, -1), repeat=2):
            worst = np.inf
            for t in product((1, -1), repeat=2):
                x = grown @ s - taken @ t
                worst = min(worst, x.mean() - np.sqrt(z**2 * x.var(ddof=1) / 300 + more))
            best = max(best, worst)
        return best

    found = ece_rise(before, after)
    assert (found.low, found.high) == pytest.approx((least(a, b), -least(b, a)))
    assert found.value == pytest.approx(np.abs(a.mean(axis=0)).sum() - np.abs(b.mean(axis=0)).sum())
    assert found.low <= found.value <= found.high


def test_a_higher_level_holds_the_interval_of_a_lower_one() -> None:
    before, after = pair(Law(name="", draw=over(0.05, 0.10)), 570, np.random.default_rng(1))
    wide, narrow = ece_rise(before, after, alpha=0.005), ece_rise(before, after)
    assert wide.low < narrow.low <= narrow.value <= narrow.high < wide.high and wide.value == narrow.value


def test_flips_add_what_the_interval_of_counts_is_longer_by() -> None:
    """None of 100 flipped: all of it, since the normal interval has width 0; with many flips next to nothing."""
    z = norm.isf(0.0125)
    high = float(change_interval(0, 0, 100, 1 - 2 * norm.sf(z))[1])
    assert surplus(0, 0, 100, z) == pytest.approx(high**2)
    many = z * z * (0.4 / 3000)
    assert 0 <= surplus(600, 600, 3000, z) < 0.02 * many


def scored(n: int, waves: int, seed: int = 0) -> tuple[Drawn, object, object]:
    """A calibrated base of n items of which some waves were scored again, and its tables."""
    before, after = pair(Law(name="", draw=over(0.05, 0.08), fresh=True), n, np.random.default_rng(seed))
    drawn = Drawn(before, Looks(allowed=0.0, seed=seed))
    for _ in range(waves):
        if (wave := drawn.next()) is not None:
            drawn.add(wave, after.take(wave))
    return drawn, before, after


def test_with_every_item_scored_the_part_is_the_whole() -> None:
    """But for z, and for the flips that strata count one by one."""
    before, after = pair(Law(name="", draw=over(0.05, 0.08), fresh=True), 400, np.random.default_rng(0))
    edge = edge_of(before)
    first, then = gaps(before, edge), gaps(after, edge)
    stratum = np.random.default_rng(1).integers(0, 5, 400)
    pairs = [np.concatenate([then, first], axis=1)[stratum == h] for h in range(5)]
    found = two_phase(first, pairs, [3] * 5, np.bincount(stratum))
    each = np.concatenate([then, first], axis=1)
    assert found.mean == pytest.approx(each.mean(axis=0))
    assert found.cov == pytest.approx(np.cov(each, rowvar=False) / 400)
    assert found.rise == pytest.approx(ece_rise(before, after).value)


def test_the_variance_of_two_phases_is_that_of_many_drawn_ones() -> None:
    """Items drawn anew, then a third of each of two strata: the mean's variance over 2,000 draws, within 15 %."""
    rng, means, covs = np.random.default_rng(0), [], []
    for _ in range(2000):
        first = rng.normal(0.1, 0.5, (120, 2))
        stratum = (first[:, 0] > 0.1).astype(int)
        then = 0.5 * first + rng.normal(0.05, 0.3, (120, 2)) * (1 + stratum)[:, None]
        own = [np.flatnonzero(stratum == h) for h in (0, 1)]
        sizes = np.array([len(one) for one in own])
        picked = [rng.choice(one, len(one) // 3, replace=False) for one in own]
        pairs = [np.concatenate([then[one], first[one]], axis=1) for one in picked]
        found = two_phase(first, pairs, [10**6] * 2, sizes)  # so many flips that none might be added
        means.append(found.mean)
        covs.append(found.cov)
    real, said = np.cov(np.array(means), rowvar=False), np.mean(covs, axis=0)
    for sign in ([1, 0, 0, 0], [1, 0, -1, 0], [1, 1, 1, 1], [1, -1, -1, 1]):
        w = np.array(sign)
        assert w @ said @ w == pytest.approx(w @ real @ w, rel=0.15), sign


def test_a_part_says_nothing_until_each_stratum_has_enough() -> None:
    drawn, _, after = scored(570, 1)
    found = part_rise(after.take(drawn.items), drawn)
    assert found.value is None and "scored items: 10 are needed" in found.reason
    drawn, _, after = scored(3000, 4)
    found = part_rise(after.take(drawn.items), drawn)
    assert not drawn.whole and found.low < found.value < found.high


def test_a_part_holds_at_all_looks() -> None:
    """Its z is the waves' at half the chance."""
    drawn, before, after = scored(3000, 4)
    found, z = part_rise(after.take(drawn.items), drawn, alpha=0.02), drawn.seen.bounds(0.01)[-1]
    edge = edge_of(before)
    pairs = drawn.by_stratum(np.concatenate([gaps(after, edge), gaps(before, edge)], axis=1)[drawn.items])
    moved = two_phase(gaps(before, edge), pairs, drawn.change().lost + drawn.change().gained, drawn.sizes)
    assert isinstance(moved, Gaps) and (found.low, found.high) == (moved.least(z), moved.most(z))


@pytest.mark.parametrize(
    ("low", "high", "word"),
    [
        (0.01, 0.09, "worse"),
        (-0.09, -0.01, "better"),
        (-0.01, 0.09, "no proven change"),
        (0.0, 0.09, "no proven change"),
    ],
)
def test_the_word_is_that_of_the_two_bins_and_ece_only_stands_beside_it(low: float, high: float, word: str) -> None:
    """Plain ECE rises by .2 in all of them."""
    ends = (Estimate(value=0.1, low=0.1, high=0.1), Estimate(value=0.3, low=0.3, high=0.3))
    before, after, rise = (one.as_dict() for one in (*ends, Estimate(value=0.04, low=low, high=high)))
    said = f"ECE 0.100 -> 0.300: {word} (in two bins +0.040, {low:+.3f} to {high:+.3f})"
    assert words.calibrated(before, after, rise) == said


def test_without_a_valid_interval_there_is_no_word() -> None:
    before, after = ({"value": value, "low": 0.0, "high": 1.0} for value in (0.1, 0.3))
    assert words.calibrated(before, after, None) == "ECE 0.300"
    none = missing("a stratum has 3 scored items").as_dict()
    said = "ECE 0.100 -> 0.300: whether it changed is not known (a stratum has 3 scored items)"
    assert words.calibrated(before, after, none) == said


def test_a_budget_acts_on_nothing_that_is_missing() -> None:
    entry = {"role": "retain", "retention": {"ece_rise": missing("too few").as_dict()}}
    assert crossed(Budget(ece_rise=0.03), {"tasks": {"m": entry}}) == []
    entry["retention"]["ece_rise"] = Estimate(value=0.05, low=0.031, high=0.07).as_dict()
    said = "m: ECE in two bins rose by more than 0.03 (at least +0.0310)"
    assert crossed(Budget(ece_rise=0.03), {"tasks": {"m": entry}}) == [said]
