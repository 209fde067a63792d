"""Evaluations in waves on made banks: wrong decisions, intervals, the value, and what a part says of more than accuracy.

All banks: python -m tests.benchmarks.operating_characteristics waves.
"""

import json
from typing import Any

import numpy as np
import pytest

from eval_hooks.part import _delta, _estimate, summarise_part
from eval_hooks.retention.spending import Look
from eval_hooks.table import column
from eval_hooks.track import flatten_summary
from eval_hooks.waves import Drawn, Looks
from tests.benchmarks import wave_looks
from tests.benchmarks.made_tables import WHERE, bank
from tests.benchmarks.operating_characteristics import PAGE, on_page
from tests.eval_hooks.old_rules import DrawnBefore
from tests.eval_hooks.tables import random_choices
from tests.eval_hooks.test_waves import ENTRY, drawn_from, noisy

RUNS = 40


def test_a_made_bank_flips_as_it_is_told_to() -> None:
    for where in WHERE:
        made = bank(2000, 0.2, where, -0.02, np.random.default_rng(1))
        tenths = np.abs(made.change[np.argsort(np.abs(made.margin), kind="stable")]).reshape(10, 200).mean(axis=1)
        assert np.abs(made.change).sum() == 400 and made.change.sum() == -40
        assert ((made.margin > 0) == (made.change < 0))[made.change != 0].all()
        assert np.argmax(tenths) == (0 if where == "low margins" else 9) or where == "all margins"


def test_where_few_were_scored_and_nearly_all_of_them_flipped_the_rule_of_before_was_wrong() -> None:
    """500 items, 20 % flip at high margins, exactly the limit lost: it decided in 18 % of orders, at 5 % allowed."""
    now, before = (
        wave_looks.judged(500, 0.2, "high margins", wave_looks.ALLOWED, 2 * RUNS, kind) for kind in (Drawn, DrawnBefore)
    )
    most = 0.05 + 3 * np.sqrt(0.05 * 0.95 / (2 * RUNS))
    assert now.wrong[0.05].mean() <= most and before.wrong[0.05].mean() > 0.10
    assert now.covered.mean() >= 1 - most and before.covered.mean() < 0.9


@pytest.mark.parametrize("loss", [0.0, 2 * wave_looks.ALLOWED])
def test_the_value_is_not_further_from_the_limit_for_having_ended_there(loss: float) -> None:
    """2,000 items, 20 % flip at low margins: it was by more than half a standard error."""
    now, before = (wave_looks.judged(2000, 0.2, "low margins", loss, RUNS, kind) for kind in (Drawn, DrawnBefore))
    out = 1 if loss == 0 else -1
    (off, error), (off_before, _) = wave_looks.bias(now), wave_looks.bias(before)
    assert out * off_before > 0.4
    assert abs(off) <= 0.1 + 3 * error


def part(look: Look, **looks: Any) -> tuple[dict[str, Any], Drawn]:
    before = random_choices(5000, skill=2.0)
    after = noisy(before, 0.2)
    drawn = drawn_from(before, after, Looks(allowed=0.02, **looks))
    table = after.take(drawn.items)
    return summarise_part(table, drawn, entry=ENTRY, margin=0.02, baseline_step=0, look=look), drawn


def test_a_part_has_its_own_interval_and_that_of_its_run_and_no_evidence_of_counts() -> None:
    entry, drawn = part(Look(alpha=0.002, level=0.95, looks=25), alpha=0.002)
    found = entry["retention"]
    delta, over_run = found["delta"], found["delta_run"]
    assert over_run["low"] < delta["low"] < delta["value"] < delta["high"] < over_run["high"]
    assert over_run["low"] > -0.02 and "excluded" in drawn.end and found["verdict"] == "kept"
    assert found["over"] == "these items" and "these 5000 items" in delta["method"]
    assert found["e_value"] is None and found["e_value_drop"] is None and found["mcnemar_p"] is None
    assert found["gained"] - found["lost"] == pytest.approx(5000 * delta["value"], abs=1)
    assert entry["waves"]["uncorrected"] > delta["value"], "what excluded the loss was too high on average"
    json.dumps(entry)
    assert "eval/t/retention/e_value" not in flatten_summary({"tasks": {"t": entry}})


def test_a_look_without_a_share_of_alpha_claims_nothing_and_ends_by_itself() -> None:
    entry, drawn = part(Look(alpha=0.0, looks=None), alpha=0.0)
    found = entry["retention"]
    assert (found["delta_run"]["low"], found["delta_run"]["high"], found["verdict"]) == (-1.0, 1.0, "undecided")
    assert found["delta"]["low"] > -0.02 and drawn.end.endswith("excluded by this evaluation alone")
    assert found["minimum_detectable"] == 1.0 and not drawn.whole


def test_means_that_move_with_accuracy_are_corrected_with_it() -> None:
    """The squared error of a sure answer is 1 - correct: its mean is corrected by exactly as much, the other way."""
    before = random_choices(4000, skill=2.0)
    after = noisy(before, 0.5)
    drawn = drawn_from(before, after, Looks(allowed=0.02))
    delta = _delta(drawn, 0.05)
    wrong = -drawn.changed
    found = _estimate(drawn, delta, wrong, 0.4)
    assert not drawn.whole and delta.value is not None and delta.value != drawn.change().value
    assert found.value == pytest.approx(0.4 - delta.value, abs=1e-9)
    assert (found.low, found.high) == pytest.approx((0.4 - (delta.high or 0), 0.4 - (delta.low or 0)), abs=2e-3)
    same = column(before.take(drawn.items), "conf") * 0 + 0.3  # what does not move with accuracy keeps its mean
    assert _estimate(drawn, delta, same, 0.0).value == pytest.approx(0.3)


def test_the_page_has_a_row_of_every_bank() -> None:
    """The benchmark compares them: too slow here."""
    rows = on_page(PAGE.read_text("utf-8"), "waves").splitlines()
    assert len(rows) == 2 + len(wave_looks.SIZES) * len(wave_looks.FLIPS) * len(WHERE)
