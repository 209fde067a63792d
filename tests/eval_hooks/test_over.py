"""What a verdict is to hold for: items like these, new subjects, these items; each is said."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from eval_hooks import CheckpointEval, EvalError
from eval_hooks.config import TaskSpec
from eval_hooks.over import check_over, subjects_of
from eval_hooks.ready import load_items
from eval_hooks.report.words import holds_for, judged_for
from eval_hooks.retention import delta_estimate, over_subjects, retention
from eval_hooks.retention.spending import Look
from eval_hooks.retention.subjects import clustered_interval, clustered_mean
from eval_hooks.table import read_table
from tests.eval_hooks.tables import answers, choices
from tests.eval_hooks.test_callback import POCKET, bare, summaries


def right(flags: np.ndarray, subjects: list[str]) -> pa.Table:
    """A table of items right or wrong, with their subjects."""
    return choices([[0.0, -1.0] if flag else [-1.0, 0.0] for flag in flags], [0] * len(flags), subjects)


def unlike() -> tuple[pa.Table, pa.Table]:
    """Ten subjects of 30 items: three lose 12 each, the others none."""
    subjects = [f"s{i // 30}" for i in range(300)]
    after = np.array([not (i // 30 < 3 and i % 30 < 12) for i in range(300)])
    return right(np.ones(300, dtype=bool), subjects), right(after, subjects)


def test_the_jackknife_by_hand() -> None:
    """Sums 1, 0, -1, 0, 2 of 4 items each: mean .1, se^2 = (5 / 4)^2 sum (u / 20)^2 = .01875 ... with t at 4 df."""
    sums, sizes = np.array([1.0, 0, -1, 0, 2]), np.full(5, 4)
    u = sums - 0.4
    leave_one_out = (2 - sums) / 16
    jackknife = np.sqrt(4 / 5 * ((leave_one_out - leave_one_out.mean()) ** 2).sum())
    se = 5 / 4 * np.sqrt((u**2).sum()) / 20
    assert se == pytest.approx(
        jackknife * np.sqrt(5 / 4)
    )  # the jackknife about the mean of all has sqrt(G / (G - 1)) more
    low, high = clustered_interval(sums, sizes, 0.05)
    assert (low, high) == pytest.approx((0.1 - 2.776445 * se, 0.1 + 2.776445 * se), abs=1e-6)


def test_new_subjects_are_never_surer_than_items_and_dropped_needs_mcnemar() -> None:
    before, after = unlike()
    items, subjects = (retention(before, after, 0.02, 0.5, over=over) for over in ("items", "subjects"))  # type: ignore[arg-type]
    assert items["verdict"] == "dropped" and subjects["verdict"] == "undecided"
    assert subjects["delta"] == items["delta_clustered"] == subjects["delta_clustered"]
    assert subjects["delta_run"]["low"] <= items["delta_run"]["low"]
    assert subjects["delta_run"]["high"] >= items["delta_run"]["high"]
    assert subjects["minimum_detectable"] > items["minimum_detectable"]
    look = Look(alpha=0.005, level=0.95, looks=10)
    wide = retention(before, after, 0.02, 0.5, look=look, over="subjects")
    assert wide["delta"] == subjects["delta"] and wide["delta_run"]["low"] < subjects["delta_run"]["low"]
    spent = retention(before, after, 0.02, 0.5, look=Look(alpha=0.0), over="subjects")
    assert (spent["delta_run"]["low"], spent["delta_run"]["high"], spent["verdict"]) == (-1.0, 1.0, "undecided")


def test_subjects_that_changed_alike_leave_the_items_their_interval() -> None:
    """Nothing flipped, or one item lost in every subject: the subjects' spread is 0 and the items' interval stands."""
    subjects = [f"s{i // 20}" for i in range(200)]
    for after in (np.ones(200, dtype=bool), np.arange(200) % 20 > 0):
        change = after.astype(float) - 1
        items = delta_estimate(np.ones(200), after.astype(float))
        found = over_subjects(change, np.array(subjects), items)
        assert (found.low, found.high) == (items.low, items.high)


def test_too_few_subjects_fall_back_to_items_and_say_why() -> None:
    before, after = right(np.ones(80, dtype=bool), ["a", "b"] * 40), right(np.arange(80) > 5, ["a", "b"] * 40)
    found = retention(before, after, 0.02, 0.5, over="subjects")
    assert found["over"] == "items like these" and found["delta"]["value"] is not None
    assert "there are 2" in found["delta_clustered"]["reason"]
    assert clustered_mean(np.ones(80), np.array(["a", "b"] * 40)).value is None
    written = retention(answers(["a"], ["a"]), answers(["b"], ["a"]), 0.02, 0.0, over="subjects")
    assert written["over"] == "items like these"


def test_each_verdict_says_what_it_is_for() -> None:
    before, after = unlike()
    items, subjects = (retention(before, after, 0.02, 0.5, over=over) for over in ("items", "subjects"))  # type: ignore[arg-type]
    assert judged_for(items) == ", judged for items like these"
    assert holds_for(items) == "The verdict holds for other items like these, of the same subjects."
    assert judged_for(subjects) == ", judged for new subjects" and "are a sample" in holds_for(subjects)
    assert judged_for({"over": "these items"}) == ", judged for these items"
    assert judged_for(None) == holds_for(None) == judged_for({"verdict": "kept"}) == ""


def test_what_cannot_speak_of_new_subjects_is_refused_with_the_remedy() -> None:
    pocket = {"task": "pocket", "variant": "olmes_cf", "shots": 0}
    CheckpointEval(retain=[pocket], over="subjects")
    with pytest.raises(EvalError, match=r"pocket has 2; retain a task that has them .* or write eval\.over: items"):
        CheckpointEval(retain=[{**pocket, "subjects": ("anatomy", "virology")}], over="subjects")
    with pytest.raises(EvalError, match=r"write eval\.order: full"):
        CheckpointEval(retain=[pocket], over="subjects", order="waves")
    rows = ({"prompt": "p", "completion": "c"},)
    spec = TaskSpec(task="sql")
    items = load_items(spec, rows)
    assert subjects_of(items) == 0
    check_over("subjects", "full", [(spec, "target", items)])  # judged for items like these
    with pytest.raises(EvalError, match="sql has none"):
        check_over("subjects", "full", [(spec, "retain", items)])
    check_over("items", "waves", [(spec, "retain", items)])


def test_a_trainers_verdict_is_over_subjects_where_that_is_asked(small_tokenizer: Any, tmp_path: Path) -> None:
    """The pocket bank's first 30 items are of 30 subjects; the base's table says that none is a copy."""
    run = tmp_path / "run"
    callback = CheckpointEval(retain=[POCKET], over="subjects", out=run)
    bare(small_tokenizer, tmp_path, callback, steps=1, learning_rate=1e-2).train()
    entry = summaries(run)[1]["tasks"]["pocket"]
    found = entry["retention"]
    assert found["over"] == "new subjects" and found["delta"] == found["delta_clustered"]
    assert "30 whole subjects" in found["delta"]["method"] and entry["copies"] is None
    assert read_table(run / "evals" / "step-0" / "pocket.parquet").column("copy_of").null_count == 30
