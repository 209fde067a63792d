"""Paired retention: hand-worked numbers, scipy and statsmodels, error rates under no change, verdicts."""

import json
import math

import numpy as np
import pytest
from scipy.stats import binomtest, ttest_1samp
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.proportion import proportion_confint

from eval_hooks.budget import crossed
from eval_hooks.config import Budget
from eval_hooks.errors import EvalError
from eval_hooks.estimate import Estimate
from eval_hooks.intervals import bootstrap_mean, share, wilson
from eval_hooks.retention import chance_corrected, delta_estimate, minimum_detectable, retention, verdict
from eval_hooks.retention.flips import e_value, e_value_drop, log_e_value, log_e_value_drop, mcnemar_exact
from eval_hooks.table import column
from tests.eval_hooks.tables import answers, random_choices, right_or_wrong


def test_mcnemar_and_e_value_by_hand() -> None:
    """5 lost, 15 gained: p = 2 P(Bin(20, 1/2) <= 5) = 2 * 21700 / 2^20 = 0.04139; E = B(6, 16) 2^20 = 3.2206."""
    assert mcnemar_exact(5, 15) == pytest.approx(2 * 21700 / 2**20, abs=1e-9)
    assert mcnemar_exact(0, 0) == 1.0
    assert e_value(5, 15) == pytest.approx(3.2206, abs=1e-4)
    assert e_value(20, 50) == pytest.approx(102.7, abs=0.05)
    assert e_value(0, 0) == pytest.approx(1.0)


@pytest.mark.parametrize(("lost", "gained"), [(0, 1), (3, 9), (12, 12), (40, 61)])
def test_statsmodels_and_scipy_agree(lost: int, gained: int) -> None:
    other = mcnemar([[10, lost], [gained, 10]], exact=True).pvalue
    assert mcnemar_exact(lost, gained) == pytest.approx(min(1.0, other), abs=1e-12)
    assert mcnemar_exact(lost, gained) == pytest.approx(binomtest(lost, lost + gained).pvalue, abs=1e-12)
    low, high = proportion_confint(lost, lost + gained, method="wilson")
    assert wilson(lost, lost + gained) == pytest.approx((low, high), abs=1e-12)


@pytest.mark.parametrize(("n", "share_of_flips", "points"), [(14042, 0.05, 0.53), (1000, 0.10, 2.8), (500, 0.20, 5.6)])
def test_minimum_detectable_change(n: int, share_of_flips: float, points: float) -> None:
    """2.80 sqrt(p / n) at p itself; ours takes the upper bound of p, so it is a little above."""
    found = 100 * minimum_detectable(round(share_of_flips * n), n)
    assert points <= found <= points * 1.15
    assert minimum_detectable(0, 100) > 0  # no flips seen is not the same as no flips possible


def test_the_whole_entry_by_hand() -> None:
    """10 items: right before 1-6, right after 1-4 and 7. Lost 2 (5, 6), gained 1 (7), delta = -0.1."""
    before = right_or_wrong([1, 1, 1, 1, 1, 1, 0, 0, 0, 0])
    after = right_or_wrong([1, 1, 1, 1, 0, 0, 1, 0, 0, 0])
    entry = retention(before, after, margin=0.02, chance=0.5)
    assert (entry["lost"], entry["gained"]) == (2, 1)
    assert entry["delta"]["value"] == pytest.approx(-0.1)
    assert entry["delta"]["value"] == pytest.approx((entry["gained"] - entry["lost"]) / 10)
    assert entry["mcnemar_p"] == pytest.approx(1.0)
    assert entry["delta_logp_gold"]["value"] == pytest.approx(-0.1)  # two fell by 1, one rose by 1
    assert entry["chance_corrected"]["value"] is None  # 0.6 of 10 is not clearly above a half
    assert entry["verdict"] == "undecided"


def test_chance_corrected_share() -> None:
    """80 % before, 60 % after, chance 25 %: (0.60 - 0.25) / (0.80 - 0.25) = 0.636364."""
    before = np.repeat([True, False], [80, 20])
    after = np.repeat([True, False], [60, 40])
    assert chance_corrected(before, after, 0.25).value == pytest.approx(0.636364, abs=1e-6)
    assert chance_corrected(np.repeat([True, False], [30, 70]), after, 0.25).value is None


@pytest.mark.parametrize(
    ("low", "high", "word"),
    [(-0.05, -0.01, "dropped"), (0.01, 0.05, "gained"), (-0.015, 0.01, "kept"), (-0.03, 0.01, "undecided")],
)
def test_verdicts(low: float, high: float, word: str) -> None:
    assert verdict(Estimate(value=(low + high) / 2, low=low, high=high), margin=0.02) == word


def test_no_interval_is_no_verdict() -> None:
    assert verdict(Estimate(value=None, reason="no items"), 0.02) == "undecided"


def test_without_a_flip_the_interval_still_has_width() -> None:
    """570 items, none flipped: 1.96^2 / (570 + 1.96^2) = 0.0067, not 0."""
    same = np.repeat([True, False], [300, 270])
    found = delta_estimate(same, same)
    assert found.value == 0.0
    assert (found.low, found.high) == pytest.approx((-0.0067, 0.0067), abs=1e-4)
    few = delta_estimate(np.ones(3, bool), np.ones(3, bool))
    assert verdict(few, 0.02) == "undecided"  # three items prove nothing


def test_pairing_is_what_makes_the_interval_narrow() -> None:
    """Width of the paired interval against the normal one of the discordant pairs, sqrt(b + c - (c - b)^2 / n) / n."""
    rng = np.random.default_rng(0)
    before = rng.uniform(size=2000) < 0.5
    after = np.where(rng.uniform(size=2000) < 0.05, ~before, before)
    lost, gained = int((before & ~after).sum()), int((~before & after).sum())
    error = np.sqrt(lost + gained - (gained - lost) ** 2 / 2000) / 2000
    found = delta_estimate(before, after)
    assert (found.high - found.low) / (2 * 1.96 * error) == pytest.approx(1.0, abs=0.05)


def test_e_values_of_large_benchmarks_are_numbers() -> None:
    """Stirling: log E = log B(l + 1, g + 1) + (l + g) log 2; all of n lost is log(2^n / (n + 1)).

    14,042 lost: 14042 log 2 - log 14043 = 9723.62. Against a loss all gained is E = 2 / (n + 1) of (1/2)^(n + 1), times
    2^n: 2 / (n + 1) / 2 = 7.121e-5. What a float64 cannot hold is its largest, and is written as JSON.
    """
    assert log_e_value(14042, 0) == pytest.approx(14042 * math.log(2) - math.log(14043))
    assert e_value_drop(0, 14042) == pytest.approx(1 / 14043)
    assert log_e_value_drop(14042, 0) == pytest.approx(log_e_value(14042, 0) + math.log(2))
    for lost, gained in ((3500, 800), (800, 3500), (1100, 0), (0, 1100), (300_000, 100_000)):
        values = [e_value(lost, gained), e_value_drop(lost, gained), log_e_value(lost, gained)]
        assert json.loads(json.dumps(values, allow_nan=False)) == values
        assert (values[1] > 1) == (lost > gained)
    assert log_e_value(3500, 800) == log_e_value(800, 3500) == pytest.approx(910.44, abs=0.01)


def test_under_no_change_the_exact_test_and_the_e_value_keep_their_level() -> None:
    """1,000 runs in which 10 % of 300 items swap at random: McNemar rejects 1 to 5.5 %, E >= 20 in 5 % at most."""
    rng = np.random.default_rng(3)
    flips = rng.binomial(300, 0.1, size=1000)
    lost = rng.binomial(flips, 0.5)
    rejected = np.mean([mcnemar_exact(int(b), int(f - b)) < 0.05 for b, f in zip(lost, flips, strict=True)])
    assert 0.01 <= rejected <= 0.055
    assert np.mean([e_value(int(b), int(f - b)) >= 20 for b, f in zip(lost, flips, strict=True)]) <= 0.05


def test_scores_between_right_and_wrong_have_the_wider_of_bootstrap_and_student() -> None:
    """Parts of right have no counts of items lost and gained; without a change the interval still has width.

    At a level that 10,000 resamples cannot show, one in 100,000, Student's interval is the wider.
    """
    rng = np.random.default_rng(4)
    before = rng.choice([0.0, 0.5, 1.0], size=250)
    after = np.where(rng.uniform(size=250) < 0.2, rng.choice([0.0, 0.5, 1.0], size=250), before)
    found = delta_estimate(before, after)
    change = after - before
    drawn, interval = bootstrap_mean(change), ttest_1samp(change, 0).confidence_interval(0.95)
    assert found.low == pytest.approx(min(drawn.low, interval.low), abs=1e-12)
    assert found.high == pytest.approx(max(drawn.high, interval.high), abs=1e-12)
    assert delta_estimate(before, after, 1e-5).low == pytest.approx(
        ttest_1samp(change, 0).confidence_interval(1 - 1e-5).low, abs=1e-12
    )
    assert found.low < found.value < found.high
    same = delta_estimate(before, before)
    assert same.high == pytest.approx(1.959964**2 / (250 + 1.959964**2), abs=1e-6) and same.low == -same.high


def test_only_the_same_items_are_paired() -> None:
    with pytest.raises(EvalError, match="item_id"):
        retention(right_or_wrong([1, 1]), right_or_wrong([1, 1, 0]), 0.02, 0.5)
    with pytest.raises(EvalError, match="gold"):
        retention(answers(["a"], ["a"]), answers(["a"], ["b"]), 0.02, 0.0)


def test_no_items_is_said() -> None:
    assert share(np.array([])).reason == "no items"


def test_a_budget_acts_only_on_a_proven_loss() -> None:
    """25 of 100 lost crosses a budget of 5 points; 8 lost and 5 gained does not."""
    before, bad = [1] * 100, [0] * 25 + [1] * 75
    entry = retention(right_or_wrong(before), right_or_wrong(bad), 0.02, 0.5)
    summary = {"tasks": {"m": {"role": "retain", "retention": entry}}}
    assert crossed(Budget(accuracy_drop=0.05), summary)
    assert not crossed(Budget(), summary)
    mixed = retention(
        right_or_wrong([1] * 90 + [0] * 10), right_or_wrong([0] * 8 + [1] * 82 + [1] * 5 + [0] * 5), 0.02, 0.5
    )
    assert not crossed(Budget(accuracy_drop=0.05), {"tasks": {"m": {"role": "retain", "retention": mixed}}})
    summary["tasks"]["m"]["role"] = "target"
    assert not crossed(Budget(accuracy_drop=0.05), summary)


def test_the_change_of_log_probability_is_raw() -> None:
    a, b = random_choices(50, skill=1.0), random_choices(50, skill=2.0)
    entry = retention(a, b, 0.02, 0.25)
    assert entry["delta_logp_gold"]["value"] == pytest.approx(1.0, abs=1e-5)
    assert column(a, "correct").sum() + entry["gained"] - entry["lost"] == column(b, "correct").sum()
