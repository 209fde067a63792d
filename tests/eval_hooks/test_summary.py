"""Summaries are functions of the tables alone; tables refuse what would make a number a lie."""

import math
from pathlib import Path

import numpy as np
import pytest

from eval_hooks.errors import EvalError
from eval_hooks.estimate import Estimate, within
from eval_hooks.results.macro import macro
from eval_hooks.seeds.interval import difference
from eval_hooks.summary import failed_task, summarise_held_out, summarise_task
from eval_hooks.table import chance, choice_table, loss_table, option_probabilities, read_table, write_table
from eval_hooks.variance.spread import spread
from eval_hooks.variance.words import between_seeds
from tests.eval_hooks.tables import answers, choices, random_choices


def test_letter_probabilities_are_a_softmax_and_cloze_ones_are_per_character() -> None:
    """Letters: logp 0 and -ln 3 give 3/4 and 1/4.

    Cloze: logp -4 (4 characters) and -4 (8 characters); per character -1 and -0.5, times the mean length 6: -6 and -3;
    softmax: 1 / (1 + e^3) = 0.0474 and 0.9526.
    """
    assert option_probabilities([0.0, -math.log(3)], [1, 1], cloze=False) == pytest.approx([0.75, 0.25])
    assert option_probabilities([-4, -4], [4, 8], cloze=True) == pytest.approx([0.047426, 0.952574], abs=1e-6)


def test_a_tie_goes_to_the_first_option_and_is_counted() -> None:
    """Four items of four equal options, golds A, B, A, C: two right, four ties."""
    entry = summarise_task(choices([[0.0] * 4] * 4, [0, 1, 0, 2]), role="retain")
    assert (entry["ties"], entry["accuracy"]["value"], entry["chance"]) == (4, 0.5, 0.25)


def test_nan_and_a_gold_outside_the_options_are_refused_by_item() -> None:
    with pytest.raises(EvalError, match="item 1 has log-probabilities"):
        choices([[0.0, 1.0], [0.0, math.nan]], [0, 0])
    with pytest.raises(EvalError, match="item 0: gold 4 is none of its 4 options"):
        choices([[0.0] * 4], [4])


def test_micro_weighs_items_and_macro_weighs_subjects() -> None:
    """a: 3 of 4 right, b: 0 of 2. Micro 3/6; macro (0.75 + 0) / 2 = 0.375."""
    table = choices([[1, 0]] * 3 + [[0, 1]] * 3, [0] * 6, ["a", "a", "a", "a", "b", "b"])
    entry = summarise_task(table, role="retain")
    assert entry["accuracy"]["value"] == pytest.approx(0.5)
    assert entry["accuracy_macro"]["value"] == pytest.approx(0.375)
    assert entry["by_subject"]["a"] == {"n": 4, "accuracy": 0.75, "lost": 0, "gained": 0, "p_holm": None}


def test_one_item_a_subject_has_no_spread_to_give_an_interval() -> None:
    found = macro(choices([[1, 0], [0, 1]], [0, 0], ["a", "b"]))
    assert found.value == 0.5 and found.low is None and found.reason


def test_chance_is_one_over_the_number_of_options_each_item_has() -> None:
    assert chance(choices([[0.0] * 2, [0.0] * 4], [0, 0])) == pytest.approx(0.375)
    assert chance(answers(["x"], ["x"])) == 0.0


def test_a_generative_summary() -> None:
    entry = summarise_task(answers(["a", "b", "c", "d"], ["a", "b", "x", "y"]), role="target", samples=2)
    assert entry["accuracy"]["value"] == 0.5
    assert entry["hit_limit"] == 0.5
    assert [s["output"] for s in entry["samples"]] == ["a", "b"]
    assert "calibration" not in entry


def test_loss_is_per_token_not_per_row() -> None:
    """2 nats on 1 token and 1 nat on 9: 3 / 10, not the mean of 2 and 1/9."""
    table = loss_table(
        [
            {"task": "v", "item_id": "0", "nll": 2.0, "n_tokens": 1},
            {"task": "v", "item_id": "1", "nll": 1.0, "n_tokens": 9},
        ]
    )
    assert summarise_held_out(table)["loss"]["value"] == pytest.approx(0.3)


def test_retention_in_a_summary_is_against_the_table_given() -> None:
    before, after = random_choices(200, skill=2.0), random_choices(200, skill=-1.0)
    entry = summarise_task(after, role="retain", baseline=before)
    kept = entry["retention"]
    assert kept["verdict"] == "dropped"
    assert kept["ece_rise"]["low"] > 0
    assert sum(s["lost"] for s in entry["by_subject"].values()) == kept["lost"]
    change = entry["accuracy"]["value"] - np.mean(before.column("correct").to_pylist())
    assert change == pytest.approx(kept["delta"]["value"])


def test_a_failed_task_has_no_number() -> None:
    entry = failed_task("retain", "RuntimeError: out of memory")
    assert (entry["status"], entry["accuracy"], entry["retention"]) == ("failed", None, None)


def test_a_table_comes_back_as_it_went_and_a_broken_one_is_named(tmp_path: Path) -> None:
    table = random_choices(7)
    write_table(table, tmp_path / "t.parquet")
    assert read_table(tmp_path / "t.parquet").equals(table)
    (tmp_path / "t.parquet").write_bytes(b"no")
    with pytest.raises(EvalError, match="t.parquet"):
        read_table(tmp_path / "t.parquet")
    with pytest.raises(EvalError, match="u.parquet"):
        read_table(tmp_path / "u.parquet")


def test_what_the_table_holds_is_enough_to_make_it_again() -> None:
    """pred, conf, p_gold, correct and tie are functions of logp, chars and gold."""
    table = random_choices(30)
    rows = table.to_pylist()
    bare = [
        {k: v for k, v in r.items() if k not in {"pred", "conf", "p_gold", "correct", "tie", "n_options"}} for r in rows
    ]
    assert choice_table(bare).equals(table)


def test_no_interval_leaves_what_there_can_be() -> None:
    """One of two right in each of two subjects: normal, 50 % -+ 69 points.

    r = -+ .5 / (2 x 2) x sqrt(2) each, so half = 1.96 sqrt(4 x .03125) = .693: cut at 0 and 1.
    """
    found = macro(choices([[1, 0], [1, 0]] * 2, [0, 1] * 2, ["a", "a", "b", "b"]))
    assert (found.value, found.low, found.high) == (0.5, 0.0, 1.0)
    assert within(Estimate(value=-0.1, low=None, high=2.5), 0, 2) == Estimate(value=0.0, low=None, high=2.0)
    apart = difference(np.array([[1.0, 1, 1], [0, 0, 0]]), np.array([[0.0, 0, 0], [1, 1, 1]]))[0]
    assert (apart.low, apart.high) == (-1.0, 1.0)


def test_a_difference_that_no_two_runs_can_have_is_not_said() -> None:
    """Accuracies of .2 and .8: t = 12.7 of one degree of freedom makes it 7.6, of which there is at most 1."""
    one = spread(task="t", metric="accuracy", better="up", steps=(1,), scores=np.array([[0.2], [0.8]]),
                 half_widths=[0.1, 0.1], n=10, chance=0.25, grain=0.1)  # fmt: skip
    assert one.smallest == 1.0 and one.sigma.high == 0.5
    assert "no difference of two more can be told" in between_seeds(one)
    loss = spread(task="t", metric="loss", better="down", steps=(1,), scores=np.array([[2.0], [8.0]]),
                  half_widths=[0.1, 0.1], n=10)  # fmt: skip
    assert loss.smallest is not None and loss.smallest > 50
