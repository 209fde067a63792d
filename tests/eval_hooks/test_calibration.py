"""Calibration numbers: a hand-worked fixture, identities, agreement with scikit-learn, coverage of the intervals."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score

from eval_hooks import EvalError
from eval_hooks.calibration.brier import brier, brier_top_label, decompose
from eval_hooks.calibration.ece import (
    classwise_ece,
    ece,
    ece_debiased,
    mass_bins,
    mce,
    reliability,
    rms_ce,
)
from eval_hooks.calibration.nll import clipped, nll
from eval_hooks.calibration.numbers import calibration
from eval_hooks.calibration.ranking import accuracy_at, aurc, auroc, coverage_at, e_aurc
from eval_hooks.calibration.smooth import smooth_ece, smooth_eces
from eval_hooks.calibration.temperature import fit_temperature, scaled
from eval_hooks.table import probabilities
from tests.eval_hooks.tables import random_choices

CONF = np.array([0.95, 0.90, 0.85, 0.60, 0.55, 0.30])
RIGHT = np.array([1.0, 1.0, 0.0, 1.0, 0.0, 0.0])
BIASED = {"ece", "ece_equal_mass", "mce", "rms", "classwise_ece", "ece_debiased", "smooth_ece"}
"""Numbers that resampling makes larger, so that their interval need not hold them."""


def test_six_items_by_hand() -> None:
    """Five bins of width 0.2.

    (0.8, 1]: confidence 0.9, accuracy 2/3, gap 0.2333, weight 1/2. (0.4, 0.6]: 0.575, 1/2, gap 0.075, weight 1/3.
    (0.2, 0.4]: 0.30, 0, gap 0.30, weight 1/6. ECE = 0.116667 + 0.025 + 0.05 = 0.191667; MCE = 0.30.
    Three groups of two: gaps |0.925 - 1|, |0.725 - 0.5|, |0.425 - 0|: (0.075 + 0.225 + 0.425) / 3 = 0.241667.
    Right over wrong pairs: 9, lost only 0.60 < 0.85: AUROC 8/9. Errors among the j most confident: 0, 0, 1, 1, 2, 3:
    AURC = (0 + 0 + 1/3 + 1/4 + 2/5 + 3/6) / 6 = 0.247222; the best order has 0, 0, 0, 1/4, 2/5, 3/6: 0.191667.
    """
    assert ece(CONF, RIGHT, bins=5) == pytest.approx(0.191667, abs=1e-6)
    assert mce(CONF, RIGHT, bins=5) == pytest.approx(0.30, abs=1e-9)
    assert ece(CONF, RIGHT, bins=3, equal_mass=True) == pytest.approx(0.241667, abs=1e-6)
    assert brier_top_label(CONF, RIGHT).mean() == pytest.approx(0.214583, abs=1e-6)
    terms = decompose(CONF, RIGHT, bins=5)
    assert terms.reliability == pytest.approx(0.044097, abs=1e-6)
    assert terms.resolution == pytest.approx(0.055556, abs=1e-6)
    assert terms.uncertainty == pytest.approx(0.25)
    assert terms.within_variance == pytest.approx(0.001042, abs=1e-6)
    assert terms.within_covariance == pytest.approx(0.025, abs=1e-6)
    assert auroc(CONF, RIGHT) == pytest.approx(8 / 9)
    assert aurc(CONF, RIGHT) == pytest.approx(0.247222, abs=1e-6)
    assert aurc(CONF, RIGHT) - e_aurc(CONF, RIGHT) == pytest.approx(0.191667, abs=1e-6)


def test_the_rest_of_the_fixture_by_hand() -> None:
    """Groups of two: gaps .075, .225, .425, root of the mean square .280995. The three most confident: 2 of 3 right.

    Errors over the j most confident: 0, 0, 1/3, 1/4, 2/5, 1/2: at most 0 up to 2 of 6, at most .34 up to 4 of 6.
    """
    assert rms_ce(CONF, RIGHT, bins=3) == pytest.approx(0.280995, abs=1e-6)
    assert accuracy_at(CONF, RIGHT, 0.5) == pytest.approx(2 / 3)
    assert coverage_at(CONF, RIGHT, 0.0) == pytest.approx(2 / 6)
    assert coverage_at(CONF, RIGHT, 0.34) == pytest.approx(4 / 6)
    assert coverage_at(CONF, 1 - np.ones(6), 0.5) == 0.0


def test_every_option_counts_in_the_classwise_error() -> None:
    """Two items (.8, .2), (.6, .4), gold 0 and 1, five bins: gaps .2 and .6 for either option, .4 in the mean."""
    p = np.array([[0.8, 0.2], [0.6, 0.4]])
    assert classwise_ece(p, np.array([0, 1]), bins=5) == pytest.approx(0.4)


def test_ties_across_an_edge_count_by_their_mean_and_stay_together() -> None:
    conf, right = np.full(4, 0.5), np.array([1.0, 1.0, 1.0, 0.0])
    assert accuracy_at(conf, right, 0.5) == pytest.approx(0.75)
    assert coverage_at(conf, right, 0.2) == 0.0 and coverage_at(conf, right, 0.25) == 1.0


def test_the_debiased_error_by_hand_and_in_the_limit() -> None:
    """One bin of 100 at accuracy 1/2: no gap is expected to look like 2 (.05) phi(0) = .039894; a gap of .4 stays."""
    right = np.array([1.0, 0.0] * 50)
    assert ece_debiased(np.full(100, 0.5), right, bins=2) == 0.0
    assert ece_debiased(np.full(100, 0.9), right, bins=2) == pytest.approx(0.4, abs=1e-6)
    folded = 2 * 0.05 * 0.129518 + 0.075 * (1 - 2 * 0.066807)  # phi(1.5), Phi(-1.5)
    assert ece_debiased(np.full(100, 0.575), right, bins=1) == pytest.approx(0.15 - folded, abs=1e-6)
    rng, plain, debiased = np.random.default_rng(0), [], []
    for _ in range(200):
        conf = rng.uniform(0.25, 1, 300)
        sample = (rng.uniform(size=300) < conf).astype(float)
        plain.append(ece(conf, sample))
        debiased.append(ece_debiased(conf, sample))
    assert np.mean(plain) > 0.04 and np.mean(debiased) < 0.65 * np.mean(plain)


def test_the_smooth_error_sees_a_shift_and_no_other() -> None:
    rng = np.random.default_rng(0)
    conf = rng.uniform(0.4, 0.9, 4000)
    right = (rng.uniform(size=4000) < conf).astype(float)
    assert smooth_ece(conf, right) < 0.03
    assert smooth_ece(np.minimum(conf + 0.1, 1), right) == pytest.approx(0.1, abs=0.02)


@pytest.mark.parametrize("gap", [0.0, 0.3, 0.9])
@pytest.mark.parametrize("n", [1, 7, 300])
def test_the_smooth_error_of_resamples_is_relplots(n: int, gap: float) -> None:
    rng = np.random.default_rng(n)
    conf = rng.uniform(0.25, 1, n)
    right = (rng.random(n) < np.clip(conf - gap, 0, 1)).astype(float)
    counts = rng.multinomial(n, np.full(n, 1 / n), size=5)
    each = [smooth_ece(np.repeat(conf, times), np.repeat(right, times)) for times in counts]
    assert smooth_eces(conf, right, counts) == pytest.approx(each, abs=1e-12)


def test_the_temperature_by_hand() -> None:
    """Gap 2, three of four right: T = 2 / ln 3 = 1.8205; predictions stay, and confidence becomes 3/4."""
    scores, gold = np.array([[2.0, 0.0]] * 4), np.array([0, 0, 0, 1])
    found = fit_temperature(scores, gold)
    assert found.value == pytest.approx(1.8205, abs=1e-3) and (found.n, found.at_bound) == (4, False)
    assert scaled(scores, found.value)[:, 0] == pytest.approx([0.75] * 4, abs=1e-4)
    assert scaled(scores, 1.0) == pytest.approx(np.exp(scores) / np.exp(scores).sum(1, keepdims=True))
    assert fit_temperature(scores, np.zeros(4, dtype=int)).at_bound
    more = np.array([[2.0, 0.0, -np.inf]] * 4)  # an item with fewer options
    assert fit_temperature(more, gold).value == pytest.approx(found.value)


@pytest.mark.parametrize(("n", "split", "message"), [(4, "test", "name validation"), (1, "validation", "at least 2")])
def test_a_temperature_is_not_fitted_where_it_must_not_be(n: int, split: str, message: str) -> None:
    with pytest.raises(EvalError, match=message):
        fit_temperature(np.zeros((n, 2)), np.zeros(n, dtype=int), split)


def test_bin_edges_are_open_on_the_left() -> None:
    """0.2 falls in (0, 0.2], 0 goes to the first bin too: gaps |0.1 - 0.5| in one bin."""
    assert ece(np.array([0.0, 0.2]), np.array([0.0, 1.0]), bins=5) == pytest.approx(0.4)


def test_equal_mass_groups_differ_by_one_item_at_most_and_ties_keep_their_order() -> None:
    counts = np.bincount(mass_bins(np.full(17, 0.5), 5))
    assert counts.tolist() == [4, 4, 3, 3, 3]
    assert mass_bins(np.full(6, 0.5), 3).tolist() == [0, 0, 1, 1, 2, 2]


pairs = st.lists(st.tuples(st.floats(0.01, 0.99), st.booleans()), min_size=3, max_size=60)


@given(pairs)
@settings(max_examples=60, deadline=None)
def test_brier_is_the_sum_of_its_terms_and_order_and_copies_change_nothing(items: list[tuple[float, bool]]) -> None:
    conf = np.array([c for c, _ in items])
    right = np.array([float(r) for _, r in items])
    t = decompose(conf, right)
    total = t.reliability - t.resolution + t.uncertainty + t.within_variance - t.within_covariance
    assert total == pytest.approx(brier_top_label(conf, right).mean(), abs=1e-12)
    turned = np.random.default_rng(0).permutation(len(conf))
    for number in (ece, mce, auroc, aurc):
        here = number(conf, right)
        assert number(conf[turned], right[turned]) == pytest.approx(here, abs=1e-12)
        if number is not aurc:
            assert number(np.tile(conf, 2), np.tile(right, 2)) == pytest.approx(here, abs=1e-12)


def test_scikit_learn_agrees() -> None:
    table = random_choices(400)
    p, gold = probabilities(table), np.array(table.column("gold").to_pylist())
    conf, right = p.max(axis=1), (p.argmax(axis=1) == gold).astype(float)
    assert auroc(conf, right) == pytest.approx(roc_auc_score(right, conf), abs=1e-12)
    assert nll(p[np.arange(400), gold]).mean() == pytest.approx(log_loss(gold, p, labels=range(4)), abs=1e-9)
    assert brier(p, gold).mean() == pytest.approx(
        brier_score_loss(gold, p, labels=range(4), scale_by_half=False), abs=1e-9
    )
    assert brier_top_label(conf, right).mean() == pytest.approx(brier_score_loss(right, conf), abs=1e-12)
    accuracy, confidence = calibration_curve(right, conf, n_bins=15, strategy="uniform")
    bins = reliability(conf, right)
    assert [b["accuracy"] for b in bins] == pytest.approx(accuracy.tolist())
    assert [b["confidence"] for b in bins] == pytest.approx(confidence.tolist())
    weights = np.array([b["n"] for b in bins]) / 400
    assert ece(conf, right) == pytest.approx((weights * np.abs(accuracy - confidence)).sum())


def test_ties_in_confidence_give_the_expected_risk_not_the_file_order() -> None:
    """All tied: the risk at every coverage is the error rate, whatever the order."""
    conf = np.full(4, 0.5)
    assert aurc(conf, np.array([1.0, 1.0, 0.0, 0.0])) == pytest.approx(0.5)
    assert aurc(conf, np.array([0.0, 0.0, 1.0, 1.0])) == pytest.approx(0.5)


def test_auroc_without_both_kinds_is_missing_with_a_reason() -> None:
    assert auroc(CONF, np.ones(6)) is None
    from tests.eval_hooks.tables import right_or_wrong

    found = calibration(right_or_wrong([True] * 5))["auroc"]
    assert found.value is None and found.reason


def test_probabilities_of_nothing_are_clipped_and_counted() -> None:
    assert nll(np.array([0.0]))[0] == pytest.approx(27.631021)
    assert clipped(np.array([0.0, 0.5])) == 1


def test_intervals_hold_the_value_and_cover_the_truth() -> None:
    """A calibrated model's Brier score: 95 % intervals from 80 samples of 150 items hold the true mean in most."""
    every = calibration(random_choices(120))
    for name, estimate in every.items():
        assert estimate.low <= estimate.value <= estimate.high or name in BIASED, name
    rng = np.random.default_rng(1)
    truth, hits = 1 / 6, 0  # E[c(1 - c)] for c uniform
    from eval_hooks.intervals import bootstrap_mean

    for _ in range(80):
        conf = rng.uniform(size=150)
        right = (rng.uniform(size=150) < conf).astype(float)
        estimate = bootstrap_mean(brier_top_label(conf, right), resamples=1000)
        hits += estimate.low <= truth <= estimate.high
    assert 70 <= hits <= 80
