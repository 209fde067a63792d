"""Numbers of many resamples at once are the plain numbers of each resample, to rounding, ties and all."""

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest

from eval_hooks.calibration.ece import classwise_ece, ece, ece_debiased, mce, rms_ce
from eval_hooks.calibration.numbers import FEWEST_IN_BIN, UNCLAIMED, calibration
from eval_hooks.calibration.ranking import accuracy_at, aurc, auroc, coverage_at, e_aurc
from eval_hooks.calibration.resampled import Binned, Sorted
from eval_hooks.calibration.temperature import scaled, temperatures
from eval_hooks.intervals import bootstrap, resampled, times_drawn
from eval_hooks.table import column, probabilities
from tests.eval_hooks.tables import random_choices

PLAIN: dict[str, Callable[..., float | None]] = {
    "ece": ece,
    "ece_equal_mass": partial(ece, equal_mass=True),
    "ece_debiased": ece_debiased,
    "rms": rms_ce,
    "mce": partial(mce, fewest=FEWEST_IN_BIN),
    "auroc": auroc,
    "aurc": aurc,
    "e_aurc": e_aurc,
    "accuracy_at_50": partial(accuracy_at, coverage=0.5),
    "accuracy_at_80": partial(accuracy_at, coverage=0.8),
    "accuracy_at_90": partial(accuracy_at, coverage=0.9),
    "coverage_at_risk_5": partial(coverage_at, risk=0.05),
}


@pytest.mark.parametrize(
    ("n", "digits", "wrong"), [(150, None, None), (150, 1, None), (9, None, None), (40, 1, 0), (40, 2, 1)]
)
def test_each_resample_has_the_number_of_its_items(n: int, digits: int | None, wrong: int | None) -> None:
    """With and without ties; fewer items than bins; nothing wrong; one wrong item, which some resamples lack."""
    rng = np.random.default_rng(n)
    p = rng.dirichlet(np.ones(4), n)
    p = p if digits is None else np.maximum(np.round(p, digits), 1e-9)
    gold = rng.integers(0, 4, n)
    if wrong is not None:
        gold = p.argmax(1)
        gold[:wrong] = (gold[:wrong] + 1) % 4
    conf, correct = p.max(1), (p.argmax(1) == gold).astype(float)
    index = np.sort(rng.integers(0, n, (60, n)), axis=1)  # in the items' order, which decides between ties
    drawn = times_drawn(index)
    found = {**Binned(conf, correct, p, gold).numbers(drawn, FEWEST_IN_BIN), **Sorted(conf, correct).numbers(drawn)}
    assert found.keys() == {*PLAIN, "classwise_ece"}
    for name, number in PLAIN.items():
        each = [number(conf[i], correct[i]) for i in index]
        assert found[name] == pytest.approx([np.nan if x is None else x for x in each], abs=1e-12, nan_ok=True), name
    assert found["classwise_ece"] == pytest.approx([classwise_ece(p[i], gold[i]) for i in index], abs=1e-12)


def test_intervals_are_those_of_the_plain_numbers_over_the_same_draws() -> None:
    """One generator, seed 0, a draw of n at a time."""
    table = random_choices(200)
    conf, correct, rng = column(table, "conf"), column(table, "correct").astype(float), np.random.default_rng(0)
    draws = [rng.integers(0, 200, 200) for _ in range(1000)]
    found = calibration(table)
    for name, number in PLAIN.items():
        low, high = np.quantile([number(conf[i], correct[i]) for i in draws], [0.025, 0.975])
        assert (found[name].low, found[name].high) == pytest.approx((low, high), abs=1e-12), name
    p, gold = probabilities(table), column(table, "gold")
    low, high = np.quantile([-np.log(p[i, gold[i]]).mean() for i in draws], [0.025, 0.975])
    assert (found["nll"].low, found["nll"].high) == pytest.approx((low, high), abs=1e-12)


def test_the_draws_do_not_depend_on_how_many_are_made_at_once() -> None:
    rng = np.random.default_rng(7)
    one_by_one = [rng.integers(0, 17_000, 17_000) for _ in range(7)]  # not a multiple of a block
    assert np.array_equal(np.concatenate(list(resampled(17_000, 7, seed=7))), one_by_one)
    counts = times_drawn(np.array([[0, 0, 2], [1, 1, 1]]))
    assert counts.tolist() == [[2, 0, 1], [0, 3, 0]]


def test_a_number_that_no_coverage_is_claimed_for_says_so() -> None:
    found = calibration(random_choices(60))
    assert {name for name, e in found.items() if "no coverage is claimed" in e.method} == set(UNCLAIMED)
    assert all(name in found and estimate.method.startswith("bootstrap, 100") for name, estimate in found.items())


def test_a_number_of_no_items_is_missing_with_a_reason() -> None:
    assert bootstrap({"x": 0.0}, lambda counts: {"x": counts.sum(1)}, 0)["x"].reason == "no items"


def test_intervals_of_ranking_numbers_cover_the_truth() -> None:
    """Confidence too high by .15: 100 samples of 300 items; the truth from 400,000. 95 %: at least 89 of 100."""
    rng, hits = np.random.default_rng(1), dict.fromkeys(COVERED, 0)

    def sample(n: int) -> tuple[np.ndarray, np.ndarray]:
        conf = rng.uniform(0.3, 1, n)
        return conf, (rng.uniform(size=n) < conf - 0.15).astype(float)

    truth = {name: PLAIN[name](*many) for many in [sample(400_000)] for name in COVERED}
    for _ in range(100):
        items = sample(300)
        found = bootstrap({name: PLAIN[name](*items) for name in COVERED}, Sorted(*items).numbers, 300, resamples=400)
        for name, estimate in found.items():
            hits[name] += estimate.low <= truth[name] <= estimate.high
    assert min(hits.values()) >= 89, hits


COVERED = ("auroc", "aurc", "e_aurc", "accuracy_at_50", "accuracy_at_80", "accuracy_at_90")


def test_the_interval_of_a_temperature_covers_the_truth() -> None:
    """Right options drawn from softmax(z / 1.6), so T = 1.6: 60 samples of 200 items; at least 52 hold it."""
    rng, hits = np.random.default_rng(2), 0
    for _ in range(60):
        z = rng.normal(size=(200, 4)) * 2
        gold = np.array([rng.choice(4, p=row) for row in scaled(z, 1.6)])
        found = bootstrap({"temperature": 1.6}, temperatures(z, gold), 200, 300)["temperature"]
        hits += found.low <= 1.6 <= found.high
    assert hits >= 52
