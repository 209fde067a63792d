"""temper compare: the same items of two or more evaluations, or a clear no."""

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rich.console import Console
from scipy.stats import binomtest
from statsmodels.stats.power import NormalIndPower, TTestPower

from eval_hooks.compare import compare
from eval_hooks.compare.decision import words_of
from eval_hooks.compare.pairs import as_pair
from eval_hooks.compare.plane import dominated, mean_of, place
from eval_hooks.compare.png import staircase
from eval_hooks.compare.result import Comparison, letter
from eval_hooks.compare.words import undecided
from eval_hooks.errors import EvalError
from eval_hooks.estimate import Estimate
from eval_hooks.evaluations import find
from eval_hooks.intervals import bootstrap_mean
from eval_hooks.retention import retention
from eval_hooks.retention.interval import paired_change
from eval_hooks.retention.power import items_needed
from tests.eval_hooks.runs import NASTY, evaluation, run_folder
from tests.eval_hooks.tables import answers, right_or_wrong


@pytest.fixture
def shown(tmp_path: Path) -> Any:
    """Compares and returns what came of it with the text on the screen."""

    def run(*names: Any, width: int = 140, **how: Any) -> tuple[Comparison, str]:
        console = Console(file=io.StringIO(), width=width)
        result = compare([str(name) for name in names], out=tmp_path / "out", console=console, **how)
        return result, console.file.getvalue()

    return run


def of(result: Comparison, task: str, model: int = 1) -> Any:
    return next(pair for pair in result.of(task) if pair.model == model).entry


def test_a_run_against_itself_differs_in_nothing(tmp_path: Path, shown: Any) -> None:
    run = run_folder(tmp_path / "a")
    result, text = shown(run, run)
    assert of(result, "pocket")["delta"]["value"] == 0.0
    assert (of(result, "pocket")["lost"], of(result, "pocket")["gained"]) == (0, 0)
    assert of(result, "pocket")["verdict"] in {"kept", "undecided"}
    assert "no proven change" in text
    assert "A and B can't be told apart with 120 items (0.0 % of them flip); about n = 473 would be needed" in " ".join(
        text.split()
    )


def test_two_runs_are_paired_at_their_ends_or_at_a_step(tmp_path: Path, shown: Any) -> None:
    good, bad = run_folder(tmp_path / "good"), run_folder(tmp_path / "bad", skill=-1.0)
    result, text = shown(good, bad)
    assert of(result, "pocket")["verdict"] == "dropped" and "dropped" in text
    assert "pocket: A and B can't be told apart" not in text
    assert of(shown(good, f"{bad}:0")[0], "pocket")["delta"]["value"] == 0.0
    assert of(shown(good, f"{bad}/evals/step-20")[0], "pocket")["lost"] == of(result, "pocket")["lost"]


def test_checkpoints_of_one_run_are_compared_with_the_first_named_or_the_base_asked_for(
    tmp_path: Path, shown: Any
) -> None:
    run = run_folder(tmp_path / "q", skill=-1.0)
    forth = shown(f"{run}:0", f"{run}:20", run)[0]
    assert [model.label for model in forth.models] == ["q:0", "q:20", "q:20"]
    assert of(forth, "pocket", 1)["lost"] == of(forth, "pocket", 2)["lost"] > 0
    back = shown(f"{run}:20", run, base=f"{run}:0")[0]
    assert [model.label for model in back.models] == ["q:0", "q:20", "q:20"]
    assert shown(f"{run}:0", f"{run}:20", base=f"{run}:20")[0].named(0) == "A q:20"


def test_runs_are_found_by_name(tmp_path: Path) -> None:
    run_folder(tmp_path / "runs" / "q")
    assert find("q:0", tmp_path / "runs").folder == tmp_path / "runs" / "q" / "evals" / "step-0"
    assert find("q", tmp_path / "runs").label == "q:20"


def test_every_word_holds_over_all_pairs(tmp_path: Path, shown: Any) -> None:
    """Of four pairs each has 5 % / 4: the word's interval is the one at 98.75 %, and p is scipy's, times 4."""
    runs = [run_folder(tmp_path / name, skill=skill) for name, skill in (("a", 2.0), ("b", 1.2), ("c", -1.0))]
    result, text = shown(*runs)
    assert [(pair.task, pair.model) for pair in result.pairs] == [("pocket", 1), ("pocket", 2), ("sql", 1), ("sql", 2)]
    for pair in result.pairs:
        entry, flips = pair.entry, pair.entry["lost"] + pair.entry["gained"]
        exact = binomtest(entry["lost"], flips).pvalue if flips else 1.0
        assert entry["mcnemar_p"] == pytest.approx(exact) and pair.p == pytest.approx(min(1.0, 4 * exact))
        alone = paired_change(entry["lost"], entry["gained"], pair.n)
        all_four = paired_change(entry["lost"], entry["gained"], pair.n, 0.9875)
        assert (entry["delta"]["low"], entry["delta"]["high"]) == pytest.approx((alone.low, alone.high))
        assert (pair.together["low"], pair.together["high"]) == pytest.approx((all_four.low, all_four.high))
    assert "4 together" in text and "one alone" in text and "p x 4" in text


def test_a_word_of_one_pair_is_taken_back_where_there_are_two(tmp_path: Path, shown: Any) -> None:
    """6 of 100 lost, none gained: the exact p is 2 / 64 = .03125 and the verdict falls; twice that, of 2, is chance."""
    before, after = right_or_wrong([True] * 100), right_or_wrong([False] * 6 + [True] * 94)
    folders = [tmp_path / name for name in "abc"]
    for folder, table in zip(folders, (before, after, before), strict=True):
        folder.mkdir()
        evaluation(folder, 0, {"pocket": table}, None, "aaaa")
    one, two = shown(*folders[:2])[0], shown(*folders)[0]
    assert of(one, "pocket")["verdict"] == "dropped" and one.pairs[0].told_apart and one.pairs[0].p == 0.03125
    assert of(two, "pocket")["verdict"] == "undecided" and not two.pairs[0].told_apart and two.pairs[0].p == 0.0625
    assert of(two, "pocket")["delta"] == of(one, "pocket")["delta"]
    assert two.pairs[0].needed > one.pairs[0].needed  # at the level of two


def test_the_noise_of_either_side_enters_the_word(tmp_path: Path, shown: Any) -> None:
    """8 lost and none gained of 100 is dropped; not where the arithmetic may flip as many: 4 seen, up to 8 or more."""
    folders = [tmp_path / name for name in "ab"]
    for folder, flags in zip(folders, ([True] * 100, [False] * 8 + [True] * 92), strict=True):
        folder.mkdir()
        evaluation(folder, 0, {"pocket": right_or_wrong(flags)}, None, "aaaa")
    assert of(shown(*folders)[0], "pocket")["verdict"] == "dropped"
    file = folders[1] / "summary.json"
    summary = json.loads(file.read_text())
    summary["tasks"]["pocket"]["noise"] = {"flips": 4, "twice": 100, "close": 30}
    file.write_text(json.dumps(summary))
    result, text = shown(*folders)
    assert of(result, "pocket")["verdict"] == "undecided" and of(result, "pocket")["noise_most"] >= 8
    assert "noise of the arithmetic: 4 items differ" in text


def test_a_comparison_fails_on_its_words_and_on_what_is_not_compared(tmp_path: Path, shown: Any) -> None:
    good, bad = run_folder(tmp_path / "good"), run_folder(tmp_path / "bad", skill=-1.0)

    def decision(*names: Any, **how: Any) -> Any:
        shown(*names, **how)
        return json.loads((tmp_path / "out" / "compare.json").read_text())["decision"]

    assert decision(good, bad) is None
    lost = decision(good, bad, fail_on=("dropped",))
    assert lost["failed"] and lost["fail_on"] == ["dropped"] and len(lost["reasons"]) == 1
    assert lost["reasons"][0].startswith("pocket: B dropped against A: -")
    assert decision(good, good, fail_on=("dropped",)) == {"fail_on": ["dropped"], "failed": False, "reasons": []}
    assert decision(bad, good, fail_on=("dropped",))["failed"] is False  # a gain
    assert decision(good, good, fail_on=("dropped", "undecided"))["failed"]  # 3 items of sql prove nothing
    file = bad / "evals" / "step-20" / "summary.json"
    summary = json.loads(file.read_text())
    del summary["tasks"]["sql"]
    file.write_text(json.dumps(summary))
    missing = decision(good, bad, fail_on=("undecided",))
    assert missing["reasons"] == [f"B is not compared on sql: not asked in {bad}/evals/step-20"]
    assert not decision(good, bad, fail_on=("undecided",), tasks=["pocket"])["failed"]


def test_a_task_that_failed_in_a_has_not_passed_and_a_target_that_is_to_fall_may(tmp_path: Path, shown: Any) -> None:
    good, bad = run_folder(tmp_path / "good"), run_folder(tmp_path / "bad", skill=-1.0)
    for folder in (good, bad):
        file = folder / "evals" / "step-20" / "summary.json"
        summary = json.loads(file.read_text())
        summary["tasks"]["pocket"]["goal"] = "down"
        summary["tasks"]["sql"] = {"status": "failed", "role": "target", "error": "x", "accuracy": None}
        file.write_text(json.dumps(summary))
    forth, back = (shown(*pair, fail_on=("dropped",))[0].decision for pair in ((good, bad), (bad, good)))
    assert forth.reasons == (f"sql: not compared: failed in A, {good}/evals/step-20",)
    assert back.reasons[0].startswith("pocket: B gained against A: +")


@pytest.mark.parametrize("text", ["lost", "dropped,kept", "", "dropped;undecided"])
def test_words_that_are_none_are_refused_with_those_there_are(text: str) -> None:
    with pytest.raises(EvalError, match="no such word: .*; there are: dropped, undecided, gained"):
        words_of(text)
    assert words_of("dropped, undecided,dropped") == ("dropped", "undecided")


def test_the_table_fits_80_columns(tmp_path: Path, shown: Any) -> None:
    _, text = shown(run_folder(tmp_path / "a"), run_folder(tmp_path / "b", skill=1.0), width=80)
    line = next(line for line in text.splitlines() if line.strip().startswith("B") and "(" in line)
    assert (
        line.count(" to ") == 2
        and "…" not in line
        and line.rstrip().endswith(("kept", "undecided", "dropped", "gained"))
    )


def test_items_needed_by_hand() -> None:
    """With p .1, d .02: (1.959964 sqrt(.1) + .841621 sqrt(.0996))^2 / .0004 = (.619795 + .265611)^2 / .0004 = 1959.86."""
    assert items_needed(0.02, 0.1) == items_needed(-0.02, 0.1) == 1960
    assert items_needed(0.02, 0.0) == items_needed(0.02, 0.02)
    with pytest.raises(ValueError, match="difference of 0"):
        items_needed(0.0, 0.1)


@pytest.mark.parametrize(("difference", "discordance"), [(0.02, 0.1), (0.05, 0.2), (0.01, 0.3)])
def test_items_needed_is_the_paired_tests_of_statsmodels(difference: float, discordance: float) -> None:
    """Both of a mean over its standard deviation sqrt(p - d^2); McNemar's null variance p differs by d^2 alone."""
    effect = difference / np.sqrt(discordance - difference**2)
    z = NormalIndPower(ddof=0).solve_power(effect_size=effect, power=0.8, alpha=0.05, ratio=0)
    t = TTestPower().solve_power(effect_size=effect, power=0.8, alpha=0.05)
    assert items_needed(difference, discordance) == pytest.approx(z, rel=0.02)
    assert items_needed(difference, discordance) == pytest.approx(t, rel=0.02)


@pytest.mark.parametrize(("difference", "discordance"), [(0.02, 0.1), (0.05, 0.3)])
def test_so_many_items_show_the_difference_in_four_of_five(difference: float, discordance: float) -> None:
    """McNemar's test on simulated pairs, 4,000 times; 3 standard errors are 1.9 points."""
    n, rng = items_needed(difference, discordance), np.random.default_rng(0)
    lost, gained = (discordance + difference) / 2, (discordance - difference) / 2
    drawn = rng.multinomial(n, [lost, gained, 1 - discordance], size=4000)
    b, c = drawn[:, 0], drawn[:, 1]
    power = np.mean(np.abs(b - c) / np.sqrt(np.maximum(b + c, 1)) > 1.959964)
    assert power == pytest.approx(0.80, abs=0.02)


def pair_of(before: Sequence[bool], after: Sequence[bool]) -> Any:
    return as_pair("t", 1, retention(right_or_wrong(before), right_or_wrong(after), 0.02, 0.5))


def test_what_cannot_be_told_apart_is_said_with_the_items_the_margin_would_take() -> None:
    """Of 100 items 6 lost and 4 gained: p .1; the margin is .02, and what the difference happened to be is no matter."""
    before = [True] * 50 + [False] * 50
    pair = pair_of(before, [False] * 6 + [True] * 44 + [True] * 4 + [False] * 46)
    assert undecided(pair) == (
        "t: A and B can't be told apart with 100 items (10.0 % of them flip); about n = 1,960 would be needed to show "
        "a difference of 2.0 points (the margin)"
    )
    even = pair_of(before, [False] * 5 + [True] * 45 + [True] * 5 + [False] * 45)
    assert undecided(even) == undecided(pair)


def test_where_there_are_items_enough_no_more_are_asked_for() -> None:
    """10 of 2,500 lost and 15 gained, p .01, under the margin, so .02: 391 items show that."""
    before = [True] * 1250 + [False] * 1250
    pair = pair_of(before, [False] * 10 + [True] * 1255 + [False] * 1235)
    assert undecided(pair).endswith("391 are enough to show a difference of 2.0 points (the margin)")


def test_a_margin_of_0_leaves_the_usual_one_to_look_for() -> None:
    pair = as_pair("t", 1, retention(right_or_wrong([True] * 9), right_or_wrong([True] * 9), 0.0, 0.5))
    assert pair.looked_for == 0.02


def test_the_plane_takes_both_roles_and_says_who_has_not(tmp_path: Path, shown: Any) -> None:
    good, bad = run_folder(tmp_path / "good"), run_folder(tmp_path / "bad", skill=-1.0)
    tables = {"pocket": right_or_wrong([True] * 120)}
    (alone := tmp_path / "alone").mkdir()
    evaluation(alone, 0, tables, None, "aaaa")
    points, left_out = place([find(str(name)) for name in (good, bad, f"{good}:0", alone)])
    assert [point.model for point in points] == [0, 1, 2] and left_out == {3: "has no target"}
    assert [point.dominated for point in points] == [False, True, True]
    assert points[0].target.value == points[1].target.value == pytest.approx(2 / 3)
    assert (points[2].target.value, points[2].retained.value) == (0.0, 0.0)
    assert points[1].retained.high is not None and points[1].retained.high < 0
    assert "not in the plane" not in shown(good, bad)[1]


def test_models_that_did_not_start_alike_are_said(tmp_path: Path, shown: Any) -> None:
    a, b = run_folder(tmp_path / "a"), run_folder(tmp_path / "b")
    assert "start alike" not in shown(a, b)[1]
    file = b / "evals" / "step-20" / "summary.json"
    summary = json.loads(file.read_text())
    summary["tasks"]["pocket"]["accuracy"]["value"] += 0.05
    file.write_text(json.dumps(summary))
    assert (
        "pocket: the plane shows changes since each model's own start, and they did not start alike: A 63.3 %, B 68.3 %"
        in (shown(a, b, width=200)[1])
    )


def test_an_unlearning_target_counts_downwards(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "a")
    file = run / "evals" / "step-20" / "summary.json"
    summary = json.loads(file.read_text())
    summary["tasks"]["sql"]["goal"] = "down"
    file.write_text(json.dumps(summary))
    (point,), _ = place([find(str(run))])
    assert point.target.value == pytest.approx(-2 / 3)
    assert point.target.low == -1 <= point.target.value <= point.target.high


def test_dominance_by_hand_and_the_front_as_a_staircase() -> None:
    """Of (1, 3), (2, 2), (3, 1), (1, 1), (2, 2): only (1, 1) is behind; equal ones do not dominate each other."""
    points = [(1.0, 3.0), (2.0, 2.0), (3.0, 1.0), (1.0, 1.0), (2.0, 2.0)]
    assert dominated(points) == [False, False, False, True, False]
    assert staircase([(1, 3), (3, 1)], 0, 0) == ([0, 0, 1, 1, 3, 3], [3, 3, 3, 1, 1, 0])


def test_the_mean_over_tasks_by_hand_and_its_coverage() -> None:
    """(.1: 0 to .3) and (.3: .2 to .4): .2, low .2 - sqrt(.01 + .01) / 2 = .1293, high .2 + sqrt(.04 + .01) / 2 = .3118.

    Over 300 pairs of tasks, with bootstrap intervals, the truth is inside in 95 % of them (3 standard errors: 3.8).
    """
    both = mean_of([Estimate(value=0.1, low=0.0, high=0.3, n=10), Estimate(value=0.3, low=0.2, high=0.4, n=5)])
    assert (both.value, both.low, both.high) == pytest.approx((0.2, 0.129289, 0.311803), abs=1e-6)
    assert both.n == 15
    rng, inside = np.random.default_rng(1), 0
    for _ in range(300):
        drawn = [rng.choice([-1.0, 0.0, 1.0], p=p, size=150) for p in ((0.1, 0.85, 0.05), (0.02, 0.7, 0.28))]
        found = mean_of([bootstrap_mean(x, resamples=1000) for x in drawn])
        inside += found.low <= (-0.05 + 0.26) / 2 <= found.high
    assert 0.95 - 0.038 <= inside / 300 <= 0.95 + 0.038


def test_picture_page_and_numbers_are_left_and_show_nothing_raw(tmp_path: Path, shown: Any) -> None:
    runs = [run_folder(tmp_path / name, skill=skill) for name, skill in (("a", 2.0), ("<b>", 1.0))]
    result, text = shown(*runs)
    assert Image.open(tmp_path / "out" / "compare.png").width == 1600
    page = (tmp_path / "out" / "compare.html").read_text()
    assert "<b>:20" not in page and "&lt;b&gt;:20" in page and NASTY not in page
    assert "be told apart" in page and "data:image/png;base64," in page and "prefers-color-scheme: dark" in page
    numbers = json.loads((tmp_path / "out" / "compare.json").read_text())
    assert [model["letter"] for model in numbers["models"]] == ["A", "B"]
    assert numbers["pairs"][0]["entry"]["delta"] == of(result, "pocket")["delta"]
    assert numbers["pairs"][0]["told_apart"] is result.pairs[0].told_apart
    assert str(tmp_path / "out" / "compare.png") in text


def test_models_beyond_z_have_names_too() -> None:
    assert [letter(i) for i in (0, 25, 26, 52)] == ["A", "Z", "A2", "A3"]


def test_other_prompts_are_refused_between_two_and_named_among_more(tmp_path: Path, shown: Any) -> None:
    a, c = run_folder(tmp_path / "a"), run_folder(tmp_path / "c", skill=1.0)
    b = run_folder(tmp_path / "b", hash_="bbbb")
    with pytest.raises(EvalError, match=r"pocket: asked with other prompts \(hash aaaa in .*, bbbb in "):
        shown(a, b)
    with pytest.raises(EvalError, match="asked with other prompts"):
        shown(a, b, b)
    result, text = shown(a, b, c)
    assert {pair.model for pair in result.pairs} == {2}
    assert "B is not compared on pocket: asked with other prompts" in text


def test_one_task_with_other_prompts_leaves_the_rest_to_be_asked_for(tmp_path: Path, shown: Any) -> None:
    a, b = run_folder(tmp_path / "a"), run_folder(tmp_path / "b")
    file = b / "evals" / "step-20" / "summary.json"
    summary = json.loads(file.read_text())
    summary["tasks"]["sql"]["prompt_hash"] = "bbbb"
    file.write_text(json.dumps(summary))
    with pytest.raises(EvalError, match="--task pocket compares what is left"):
        shown(a, b)
    assert shown(a, b, tasks=["pocket"])[0].tasks == ("pocket",)


def test_items_that_disagree_are_refused_with_the_folders(tmp_path: Path, shown: Any) -> None:
    a, b = run_folder(tmp_path / "a"), run_folder(tmp_path / "b")
    (more := tmp_path / "more").mkdir()
    evaluation(more, 20, {"pocket": right_or_wrong([True] * 9), "sql": answers(["x"], ["x"])}, None, "aaaa")
    with pytest.raises(EvalError, match=r"pocket: .*/a/.* and .*/more: before and after differ in item_id"):
        shown(a, more)
    assert "C is not compared on pocket" in shown(a, b, more)[1]


def test_a_task_that_only_one_has_is_named(tmp_path: Path, shown: Any) -> None:
    run = run_folder(tmp_path / "a")
    file = run / "evals" / "step-20" / "summary.json"
    summary = json.loads(file.read_text())
    summary["tasks"]["sql"]["status"] = "stopped_early"
    file.write_text(json.dumps(summary))
    result, text = shown(f"{run}:0", run)
    assert result.tasks == ("pocket",)
    assert "B is not compared on sql: not all of its items were scored" in text
    assert "not in the plane" not in text  # the weighted change stands for all items


def test_no_shared_task_is_refused(tmp_path: Path, shown: Any) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        evaluation(tmp_path / name, 0, {name: right_or_wrong([True, False])}, None, "aaaa")
    with pytest.raises(EvalError, match=r"no task is shared: .*/one has one; .*/two has two"):
        shown(tmp_path / "one", tmp_path / "two")
    with pytest.raises(EvalError, match="not measured on mmlu; there are: one"):
        shown(tmp_path / "one", tmp_path / "one", tasks=["mmlu"])


def test_one_name_alone_is_refused(tmp_path: Path, shown: Any) -> None:
    run = run_folder(tmp_path / "a")
    with pytest.raises(EvalError, match="name two or more"):
        shown(run)
    with pytest.raises(EvalError, match="name two or more"):
        shown(run, base=str(run))


def test_what_is_not_there_is_answered_with_what_is(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "a")
    with pytest.raises(EvalError, match="no evaluation at step 7; there are: 0, 20"):
        find(f"{run}:7")
    with pytest.raises(EvalError, match="no evaluation there"):
        find(str(tmp_path / "none"))
