"""What may not matter does not: the order of items, copies of all of them; and looking as often as one likes, for E."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval_hooks.budget import crossed
from eval_hooks.calibration.brier import brier, brier_top_label
from eval_hooks.calibration.ece import classwise_ece, ece, ece_debiased, mce, rms_ce
from eval_hooks.calibration.nll import nll
from eval_hooks.calibration.ranking import accuracy_at, aurc, auroc, coverage_at, e_aurc
from eval_hooks.calibration.rise import ece_rise
from eval_hooks.calibration.smooth import smooth_ece
from eval_hooks.calibration.temperature import fit_temperature, scaled
from eval_hooks.config import Budget
from eval_hooks.intervals import bootstrap_mean, share
from eval_hooks.retention import retention, verdict
from eval_hooks.retention.flips import e_value, mcnemar_exact
from eval_hooks.retention.subjects import by_group, clustered_mean
from eval_hooks.table import column, probabilities, scores
from tests.eval_hooks.tables import choices, random_choices

logits = st.floats(-6.0, 6.0, width=32)
items = st.lists(
    st.tuples(st.lists(logits, min_size=4, max_size=4), st.integers(0, 3), st.sampled_from("abc")),
    min_size=4,
    max_size=40,
)


def table_of(drawn: list[tuple[list[float], int, str]]) -> pa.Table:
    return choices([row[0] for row in drawn], [row[1] for row in drawn], [row[2] for row in drawn])


def numbers(table: pa.Table) -> dict[str, float | None]:
    """Every calibration number that does not take items in their order where confidences tie."""
    conf, correct, p, gold = (
        column(table, "conf"), column(table, "correct").astype(float), probabilities(table), column(table, "gold")
    )  # fmt: skip
    fitted = fit_temperature(scores(table), gold)
    return {
        "ece": ece(conf, correct),
        "classwise_ece": classwise_ece(p, gold),
        "mce": mce(conf, correct),
        "brier": brier(p, gold).mean(),
        "brier_top_label": brier_top_label(conf, correct).mean(),
        "nll": nll(p[np.arange(len(gold)), gold]).mean(),
        "auroc": auroc(conf, correct),
        "coverage_at": coverage_at(conf, correct, 0.05),
        "temperature": fitted.value,
    }


def in_order(table: pa.Table) -> dict[str, float | None]:
    """The rest: those that the number of items decides too."""
    conf, correct = column(table, "conf"), column(table, "correct").astype(float)
    same_mass = len(np.unique(conf)) == len(conf)  # else ties keep their order, by definition
    return {
        "smooth_ece": smooth_ece(conf, correct),
        "ece_debiased": ece_debiased(conf, correct),
        "aurc": aurc(conf, correct),
        "e_aurc": e_aurc(conf, correct),
        "accuracy_at_80": accuracy_at(conf, correct, 0.8),
        "ece_equal_mass": ece(conf, correct, equal_mass=True) if same_mass else None,
        "rms": rms_ce(conf, correct) if same_mass else None,
    }


@given(items, st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_the_order_of_items_changes_no_calibration_number(drawn: list[Any], random: Any) -> None:
    turned = random.sample(drawn, len(drawn))
    here, there = ({**numbers(t), **in_order(t)} for t in (table_of(drawn), table_of(turned)))
    assert there.keys() == here.keys()
    for key, value in here.items():  # the temperature is fitted, so close and no more
        assert there[key] == (value if value is None else pytest.approx(value, rel=1e-5, abs=1e-6)), key


def loss_at(table: pa.Table, temperature: float) -> float:
    """What a fitted temperature is the least of."""
    gold = column(table, "gold")
    return float(nll(scaled(scores(table), temperature)[np.arange(len(gold)), gold]).mean())


@given(items)
@settings(max_examples=40, deadline=None)
def test_copies_of_all_items_change_no_calibration_number(drawn: list[Any]) -> None:
    once, twice = table_of(drawn), table_of(drawn * 2)
    found = [numbers(table) for table in (once, twice)]
    one, two = (each.pop("temperature") for each in found)
    assert found[1] == pytest.approx(found[0], abs=1e-6)
    assert loss_at(once, two) == pytest.approx(loss_at(once, one), abs=1e-9)
    flat = abs(loss_at(once, 1.01 * one) - loss_at(once, one)) < 1e-6  # a minimum that rounding alone would place
    assert flat or two == pytest.approx(one, abs=1e-6)
    smooth = [in_order(table)["smooth_ece"] for table in (once, twice)]
    assert smooth[1] == pytest.approx(smooth[0], abs=5e-3)  # its scale is found in steps of 1/1024


@given(items)
@settings(max_examples=40, deadline=None)
def test_a_temperature_of_one_is_the_identity_and_none_changes_a_prediction(drawn: list[Any]) -> None:
    z, p = scores(table_of(drawn)), probabilities(table_of(drawn))
    assert scaled(z, 1.0) == pytest.approx(p, abs=1e-12)
    best = z.max(axis=1, keepdims=True)
    for temperature in (0.05, 3.0, 20.0):
        at = scaled(z, temperature)
        assert (at[z == best] >= at.max(axis=1).repeat((z == best).sum(axis=1))).all()


def paired_numbers(before: pa.Table, after: pa.Table) -> dict[str, Any]:
    found = retention(before, after, 0.02, 0.25)
    single = ("lost", "gained", "mcnemar_p", "e_value", "minimum_detectable")
    values = {name: found[name]["value"] for name in ("delta", "chance_corrected", "delta_logp_gold")}
    return {**{name: found[name] for name in single}, **values, "rise": ece_rise(before, after).value}


@given(items, st.randoms(use_true_random=False))
@settings(max_examples=10, deadline=None)
def test_the_order_of_items_changes_no_retention_number(drawn: list[Any], random: Any) -> None:
    order = random.sample(range(len(drawn)), len(drawn))
    noise = np.random.default_rng(0).normal(size=(len(drawn), 4)) * 3
    later = [([float(x) for x in row[0] + e], *row[1:]) for row, e in zip(drawn, noise, strict=True)]
    sides = [(table_of(rows), table_of([rows[i] for i in order])) for rows in (drawn, later)]
    ids = [str(i) for i in order]
    (a, a2), (b, b2) = ((t, u.set_column(1, "item_id", [ids])) for t, u in sides)
    assert paired_numbers(a2, b2) == pytest.approx(paired_numbers(a, b), abs=1e-9)
    assert by_group(b2, a2) == by_group(b, a)


def test_copies_shrink_the_plain_error_by_root_two_and_leave_the_clustered_one() -> None:
    """400 items twice: the plain half-width falls by sqrt 2, that clustered by the original item not at all."""
    before, after = (column(random_choices(400, seed=s), "correct").astype(float) for s in (0, 1))
    change, ids = after - before, np.arange(400)

    def width(estimate: Any) -> float:
        return float(estimate.high - estimate.low)

    for make in (bootstrap_mean, share):
        x = change if make is bootstrap_mean else after.astype(bool)
        assert width(make(np.tile(x, 2))) == pytest.approx(width(make(x)) / np.sqrt(2), rel=0.03)
        assert make(np.tile(x, 2)).value == pytest.approx(make(x).value)
    twice, single = clustered_mean(np.tile(change, 2), np.tile(ids, 2)), clustered_mean(change, ids)
    assert width(twice) == pytest.approx(width(single))


def paths(share_lost: float, runs: int = 1000, flips: int = 60, seed: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Items lost and gained after each flip, in the order scored: (runs, flips) each. Others change no number."""
    lost = np.random.default_rng(seed).uniform(size=(runs, flips)) < share_lost
    return lost.cumsum(1), (~lost).cumsum(1)


def test_e_may_be_looked_at_after_every_item_and_p_may_not() -> None:
    """1,000 runs without a change: E >= 20 at any look in 5 % at most; p < .05 at some look in over twice that."""
    lost, gained = paths(0.5)
    e = np.array([[e_value(b, 60 - b if b + c == 60 else c) for c in range(61)] for b in range(61)])
    p = np.array([[mcnemar_exact(b, c) for c in range(61)] for b in range(61)])
    assert (e[lost, gained] >= 20).any(axis=1).mean() <= 0.05
    assert (p[lost, gained] < 0.05).any(axis=1).mean() > 0.10
    assert (p[lost[:, -1], gained[:, -1]] < 0.05).mean() <= 0.055
    lost, gained = paths(0.8)
    assert (e[lost, gained] >= 20).any(axis=1).mean() > 0.9  # and a loss of four in five flips is seen


def test_e_is_fair_under_no_change() -> None:
    """A martingale: the mean of E over both outcomes of the next flip is E itself, from any state."""
    for b, c in ((0, 0), (3, 1), (10, 25)):
        assert (e_value(b + 1, c) + e_value(b, c + 1)) / 2 == pytest.approx(e_value(b, c))


def test_at_the_margin_neither_kept_nor_crossed_is_said_more_often_than_the_level() -> None:
    """True change exactly -.05: 13 % of 400 items lost, 8 % gained; 2.5 % of 300 runs are 7.5, and 3 sd more 15.6."""
    rng, said = np.random.default_rng(8), []
    for _ in range(300):
        change = rng.choice([-1.0, 1.0, 0.0], p=[0.13, 0.08, 0.79], size=400)
        found = bootstrap_mean(change, resamples=400)
        entry = {"role": "retain", "retention": {"delta": found.as_dict()}}
        proven = bool(crossed(Budget(accuracy_drop=0.05), {"tasks": {"m": entry}}))
        said.append((verdict(found, margin=0.05) == "kept", proven))
    assert np.sum(said, axis=0).max() <= 15


def test_noise_is_no_proof_of_a_rise_in_ece() -> None:
    """Two models over-confident by .1 alike, 40 pairs of 300 items: the interval lies above 0 in 5 % at most."""
    rng, wrong = np.random.default_rng(0), 0
    for _ in range(40):
        conf = rng.uniform(0.3, 1, 300)
        other = np.clip(conf + 0.03 * rng.normal(size=300), 0.26, 0.999)
        luck = rng.uniform(size=300)
        pair = [_two_options(c, luck < c - 0.1) for c in (conf, other)]
        wrong += ece_rise(*pair).low > 0
    assert wrong <= 2


def _two_options(conf: np.ndarray, right: np.ndarray) -> pa.Table:
    """Items of four options whose best has this confidence, right or not."""
    rest = np.log((1 - conf) / 3)
    rows = np.stack([np.log(conf), rest, rest, rest], axis=1)
    return choices(rows.tolist(), np.where(right, 0, 1).tolist())
