"""Copies of an item are found, and every interval counts them once."""

import numpy as np
import pytest

from eval_hooks.calibration.numbers import calibration
from eval_hooks.calibration.rise import ece_rise
from eval_hooks.config import TaskSpec
from eval_hooks.copies import clusters, clusters_of, copies, told, worth
from eval_hooks.intervals import Z, bootstrap_mean, share, whole_clusters, wilson
from eval_hooks.items import ChoiceItem, ChoiceSet
from eval_hooks.ready import Reader, ready
from eval_hooks.report.words import copied
from eval_hooks.results.macro import macro
from eval_hooks.retention import retention
from eval_hooks.retention.interval import Clusters, paired_change
from eval_hooks.summary import summarise_held_out, summarise_task
from eval_hooks.table import loss_table
from eval_hooks.variance import half_width
from eval_hooks.variance.metrics import metrics
from tests.eval_hooks.tables import random_choices


def twice(table, times: int = 2):  # type: ignore[no-untyped-def]
    """Every item so many times, the later ones copies of the first."""
    rows = table.to_pylist()
    again = [
        {**row, "item_id": f"{row['item_id']}/{k}", "copy_of": f"{row['item_id']}/0" if k else None}
        for k in range(times)
        for row in rows
    ]
    return table.from_pylist(again, schema=table.schema)


def test_copies_by_hand() -> None:
    """a, b, a, a: two copies of the first; worth 16 / (9 + 1) = 1.6 items."""
    found = copies(["0", "1", "2", "3"], ["a", "b", "a", "a"])
    assert found == {"2": "0", "3": "0"}
    of = clusters(["0", "1", "2", "3"], found)
    assert of is not None and of.tolist() == [0, 1, 0, 0]
    assert worth(4, of) == pytest.approx(1.6) and worth(4, None) == 4
    assert clusters(["0", "1"], {}) is None
    assert clusters(["2", "3"], found) is not None  # the first of them is not among the items


def test_a_table_without_the_column_counts_every_item() -> None:
    table = twice(random_choices(30))
    assert told(table) == {"items": 30, "different": 30, "worth": pytest.approx(30)}
    assert clusters_of(table.drop_columns(["copy_of"])) is None and told(random_choices(30)) is None


def test_resamples_hold_whole_clusters_and_n_items() -> None:
    """All but the last cluster drawn, of which the first items stay; every cluster is drawn as often as another."""
    of = np.array([0, 1, 0, 2, 2, 2, 3, 4])
    drawn = np.concatenate(list(whole_clusters(of, 20_000)))
    assert drawn.shape == (20_000, 8) and (drawn.sum(axis=1) == 8).all()
    unlike = sum((drawn[:, of == c] != drawn[:, of == c][:, :1]).any(axis=1).astype(int) for c in range(5))
    assert unlike.max() <= 1
    assert [drawn[:, of == c].mean() for c in range(5)] == pytest.approx([1.0] * 5, abs=0.1)
    singles = np.concatenate(list(whole_clusters(np.arange(50), 2000)))
    assert singles.var(axis=0).mean() == pytest.approx(49 / 50, abs=0.05)


def test_items_asked_twice_have_the_intervals_of_once() -> None:
    """120 items, each of them twice: every interval is as wide as that of the 120, not sqrt(2) narrower."""
    before, after = random_choices(120, seed=0, skill=2.0), random_choices(120, seed=0, skill=1.0)
    one, two = retention(before, after, 0.02, 0.25), retention(twice(before), twice(after), 0.02, 0.25)
    assert two["lost"] == 2 * one["lost"] and two["delta"]["n"] == 240
    for key in ("low", "high"):
        assert two["delta"][key] == pytest.approx(one["delta"][key], abs=1e-9)
        assert two["chance_corrected"][key] == pytest.approx(one["chance_corrected"][key], abs=0.02)
        assert two["delta_logp_gold"][key] == pytest.approx(one["delta_logp_gold"][key], abs=0.02)
    for key in ("mcnemar_p", "e_value", "e_value_drop", "verdict"):
        assert two[key] == one[key]
    assert two["minimum_detectable"] == pytest.approx(one["minimum_detectable"])
    assert "copies counted once" in two["delta"]["method"]
    rise = [ece_rise(a, b) for a, b in ((before, after), (twice(before), twice(after)))]
    assert rise[1].high - rise[1].low == pytest.approx(rise[0].high - rise[0].low, rel=0.15)
    once, again = calibration(after), calibration(twice(after))
    for name in ("brier", "nll", "auroc", "ece", "smooth_ece"):
        assert again[name].value == pytest.approx(once[name].value, abs=0.02)
        assert again[name].high - again[name].low == pytest.approx(once[name].high - once[name].low, rel=0.25)


def test_accuracy_and_its_summary_count_copies_once_and_say_so() -> None:
    table = random_choices(90, seed=3)
    entry, single = summarise_task(twice(table), role="retain"), summarise_task(table, role="retain")
    assert entry["n"] == 180 and entry["copies"]["different"] == 90
    assert (entry["accuracy"]["low"], entry["accuracy"]["high"]) == pytest.approx(
        (single["accuracy"]["low"], single["accuracy"]["high"])
    )
    assert copied(entry) == "90 of 180 items are copies of others: 90 different ones; intervals count them once"
    assert copied(single) == "" and copied({}) == ""
    assert entry["by_subject"]["s0"]["once"]["worth"] == pytest.approx(30) and "once" not in single["by_subject"]["s0"]
    wide, narrow = macro(table), macro(twice(table).drop_columns(["copy_of"]))
    counted = macro(twice(table))
    assert counted.high - counted.low == pytest.approx(wide.high - wide.low, rel=0.03)
    assert narrow.high - narrow.low < 0.75 * (wide.high - wide.low)


def test_macro_without_copies_is_that_of_stratified_means() -> None:
    """sqrt(sum of variance / n over subjects) / subjects, 1.96 of it."""
    table = random_choices(91)
    groups = [
        np.array([row["correct"] for row in table.to_pylist() if row["subject"] == name], dtype=float)
        for name in ("s0", "s1", "s2")
    ]
    half = Z * np.sqrt(sum(g.var(ddof=1) / len(g) for g in groups)) / 3
    found = macro(table)
    assert found.high - found.value == pytest.approx(half)


def test_counts_shrink_to_what_their_items_are_worth() -> None:
    """4 of 10 lost in two clusters of 2: worth 100 / (4 + 4 + 6) items; McNemar's p of 2 against 0 is .5."""
    change = np.array([-1.0, -1, -1, -1, 0, 0, 0, 0, 0, 0])
    of = np.array([0, 0, 1, 1, 2, 3, 4, 5, 6, 7])
    found = Clusters.of(change, of)
    assert (found.lost, found.gained, found.worth) == (2, 0, pytest.approx(100 / 14))
    wide, narrow = paired_change(4, 0, 10, clusters=found), paired_change(4, 0, 10)
    assert wide.value == narrow.value == -0.4 and wide.low < narrow.low and wide.high >= narrow.high
    flags = change < 0
    assert share(flags, of).low == pytest.approx(wilson(0.4 * 100 / 14, 100 / 14)[0])


def test_losses_and_the_spread_over_seeds_count_copies_once() -> None:
    rng = np.random.default_rng(0)
    rows = [
        {"task": "v", "item_id": str(i), "nll": float(x), "n_tokens": 5} for i, x in enumerate(rng.uniform(1, 9, 80))
    ]
    table = loss_table(rows)
    one, two = summarise_held_out(table)["loss"], summarise_held_out(twice(table))["loss"]
    assert two["value"] == pytest.approx(one["value"])
    assert two["high"] - two["low"] == pytest.approx(one["high"] - one["low"], rel=0.15)
    for how in ("normal", "bootstrap"):
        halves = [half_width(metrics(t)["loss"], how, 500) for t in (table, twice(table))]  # type: ignore[arg-type]
        assert halves[1] == pytest.approx(halves[0], rel=0.15)
    mean = bootstrap_mean(np.arange(9.0), clusters=np.zeros(9, dtype=int))
    assert mean.low is not None and "copies" in mean.method


def test_rendering_finds_the_items_that_ask_the_same(tokenizer) -> None:  # type: ignore[no-untyped-def]
    """The same question in another subject is a copy; with another gold answer it is none."""
    asked = [("a", "one?", 0), ("a", "two?", 1), ("b", "one?", 0), ("b", "two?", 0)]
    items = tuple(
        ChoiceItem(item_id=f"{subject}/{i}", subject=subject, question=question, choices=("yes", "no"), gold=gold)
        for i, (subject, question, gold) in enumerate(asked)
    )
    spec = TaskSpec(task="pocket", variant="olmes_cf", shots=0)
    assert ready(spec, "retain", Reader(tokenizer=tokenizer), ChoiceSet(items=items)).copies == {"b/2": "a/0"}
