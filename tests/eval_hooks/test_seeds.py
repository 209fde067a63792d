"""Two recipes over seeds: the interval by hand and beside references, the words, and what is refused."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rich.console import Console
from scipy.stats import ttest_1samp, ttest_ind

from eval_hooks.errors import EvalError
from eval_hooks.retention.interval import paired_change, score_low, wald_low
from eval_hooks.seeds import compare_seeds
from eval_hooks.seeds.interval import Moments, difference, ends, moments
from eval_hooks.seeds.result import SeedComparison, verdict
from eval_hooks.seeds.words import narrower
from tests.eval_hooks.tables import right_or_wrong
from tests.eval_hooks.test_variance import run_of

A = np.array([[1, 1, 0, 0], [1, 1, 1, 0]], dtype=float)
B = np.array([[1, 0, 0, 0], [1, 0, 0, 0]], dtype=float)


def test_two_runs_of_four_items_by_hand() -> None:
    """A's runs have .5 and .75, B's .25: d = .375; S_a^2 / 2 = .03125 / 2, B's is 0, one degree of freedom.

    Items differ by 0, 1, .5, 0: squares 1.25. Item 3 alone varies, by .5, in A: .5 / 2, of which the runs' own variance
    is 4 x .015625: the rest is .1875. The seeds' half-width is 12.7062 x .125, so the lower end would be -1.36: it is
    cut at -1. Flips are at least the 1.5 net ones.
    """
    found = moments(A, B)
    assert (found.n, found.runs, found.change, found.squares) == (4, (2, 2), 0.375, 1.25)
    assert found.variances == pytest.approx((0.015625, 0.0))
    assert found.rest == pytest.approx(0.1875)
    estimate, made = difference(A, B)
    assert made.seeds == pytest.approx(12.706205 * 0.125)
    items = min(score_low(0.0, 1.5, 4, 0.95), wald_low(0.0, 1.5, 4, 0.95))
    assert made.items[0] == pytest.approx(items)
    assert 0.375 - np.hypot(0.375 - items, 12.706205 * 0.125) < -1 == estimate.low
    swapped = difference(B, A)[0]
    assert (swapped.low, swapped.high) == pytest.approx((-estimate.high, -estimate.low))


def test_with_very_many_items_it_is_what_the_run_means_say() -> None:
    """A billion items that all recipes answer alike: scipy's t of a mean where one recipe's seeds matter.

    Where both do, Welch's or a little more.
    """
    a, b = np.array([0.61, 0.64, 0.66]), np.array([0.60, 0.605, 0.61, 0.63, 0.60])

    def bounds(one: np.ndarray, other: np.ndarray) -> tuple[float, float]:
        variances = one.var(ddof=1) / len(one), other.var(ddof=1) / len(other)
        change, runs = one.mean() - other.mean(), (len(one), len(other))
        made = ends(Moments(n=10**9, runs=runs, change=change, squares=0.0, rest=0.0, variances=variances))
        return made.low, made.high

    alone = ttest_1samp(a, 0.5).confidence_interval()
    assert bounds(a, np.full(4, 0.5)) == pytest.approx((alone.low - 0.5, alone.high - 0.5), abs=1e-5)
    low, high = bounds(a, b)
    welch = ttest_ind(a, b, equal_var=False).confidence_interval()
    assert welch.low - 0.02 < low < welch.low and welch.high < high < welch.high + 0.02


@pytest.mark.parametrize(("runs", "sd", "welch"), [((2, 2), 20.0, 0.935), ((2, 5), 0.3, 0.895)])
def test_welchs_t_of_so_few_runs_covers_less_than_it_promises_and_this_does_not(
    runs: tuple[int, int], sd: float, welch: float
) -> None:
    """Run means of standard deviation 1 and `sd`, items aside, 40,000 times."""
    rng = np.random.default_rng(1)
    a, b = 1e-3 * rng.normal(size=(40_000, runs[0])), 1e-3 * sd * rng.normal(size=(40_000, runs[1]))
    interval = ttest_ind(a, b, axis=1, equal_var=False).confidence_interval()
    assert np.mean((interval.low <= 0) & (interval.high >= 0)) == pytest.approx(welch, abs=0.004)
    variances = a.var(axis=1, ddof=1) / runs[0], b.var(axis=1, ddof=1) / runs[1]
    change = a.mean(axis=1) - b.mean(axis=1)
    made = ends(Moments(n=10**12, runs=runs, change=change, squares=0.0, rest=0.0, variances=variances))
    assert np.mean((made.low <= 0) & (made.high >= 0)) > 0.947


def test_where_seeds_change_nothing_it_is_the_interval_of_paired_items() -> None:
    """30 lost and 5 gained of 570, by every run alike."""
    a, b = np.ones(570), np.ones(570)
    a[:30], b[30:35] = 0, 0
    found, one = difference(np.array([a] * 3), np.array([b] * 2))[0], paired_change(30, 5, 570)
    assert (found.value, found.low, found.high) == pytest.approx((one.value, one.low, one.high))


def test_the_components_add_up_to_the_variance_of_the_difference() -> None:
    """Two runs and three of 30 items, 6,000 times anew: items, seeds, and rest of .03, .02 and .1."""
    rng = np.random.default_rng(0)

    def group(runs: int) -> np.ndarray:
        item, seed = rng.normal(scale=0.03, size=(6000, 1, 30)), rng.normal(scale=0.02, size=(6000, runs, 1))
        return 0.5 + item + seed + rng.normal(scale=0.1, size=(6000, runs, 30))

    ease = rng.normal(scale=0.2, size=(6000, 1, 30))
    found = moments(ease + group(2), ease + group(3))
    within = (found.squares - 30 * found.change**2 - found.rest) / (30 * 29)
    parts = sum(found.variances) + within
    truth = 2 * 0.03**2 / 30 + 0.02**2 * (1 / 2 + 1 / 3) + 0.1**2 / 30 * (1 / 2 + 1 / 3)
    assert parts.mean() == pytest.approx(truth, rel=0.03)
    assert found.change.var() == pytest.approx(truth, rel=0.06)


@pytest.mark.parametrize(
    ("low", "high", "goal", "said"),
    [
        (0.01, 0.05, "up", "A is better"), (-0.05, -0.01, "up", "B is better"), (0.01, 0.05, "down", "B is better"),
        (-0.05, -0.01, "down", "A is better"), (-0.015, 0.019, "up", "no difference"), (-0.015, 0.03, "up", "undecided"),
        (-0.03, 0.0, "up", "undecided"), (0.0, 0.0, "up", "no difference"),
    ],
)  # fmt: skip
def test_the_words_of_an_interval(low: float, high: float, goal: str, said: str) -> None:
    """At a margin of 2 points; an interval that touches 0 proves nothing."""
    assert verdict(low, high, 0.02, goal) == said


def seeded(folder: Path, seed: int, rate: float, skill: float, n: int = 300, **more: Any) -> Path:
    """A run of a recipe (its learning rate) whose items are right where ease, skill and the run's own noise say so."""
    ease, rng = np.random.default_rng(7).normal(size=n), np.random.default_rng([seed, int(1e6 * rate)])
    right = ease + skill + 0.02 * rng.normal() + 0.1 * rng.normal(size=n) > 0
    return run_of(folder, {20: right_or_wrong(right)}, seed, rate=rate, **more)


def three(tmp_path: Path, name: str, rate: float, skill: float, **more: Any) -> list[str]:
    return [str(seeded(tmp_path / f"{name}{seed}", seed, rate, skill, **more)) for seed in range(3)]


def shown(tmp_path: Path, a: list[str], b: list[str], **how: Any) -> tuple[SeedComparison, str]:
    console = Console(file=io.StringIO(), width=100)
    result = compare_seeds(a, b, out=tmp_path / "out", console=console, **how)
    return result, " ".join(console.file.getvalue().split())


def test_two_recipes_are_told_apart_shown_drawn_and_kept(tmp_path: Path) -> None:
    a, b = three(tmp_path, "a", 1e-4, 0.8), three(tmp_path, "b", 2e-4, 0.2)
    result, text = shown(tmp_path, a, b)
    (one,) = result.tasks
    assert one.verdict == "A is better" and one.adjusted.level == 0.95
    assert f"quiz: A is better than B, by {100 * one.adjusted.low:.1f} to {100 * one.adjusted.high:.1f} points" in text
    assert one.difference.value == pytest.approx(np.mean(one.a) - np.mean(one.b))
    assert Image.open(tmp_path / "out" / "compare-seeds.png").width == 1600
    kept = json.loads((tmp_path / "out" / "compare-seeds.json").read_text())
    assert kept["tasks"][0]["verdict"] == "A is better" and len(kept["a"]) == len(kept["b"]) == 3
    assert kept["tasks"][0]["adjusted"]["low"] == one.adjusted.low and not kept["one_recipe"]
    assert shown(tmp_path, b, a)[0].tasks[0].verdict == "B is better"


def test_one_recipe_against_itself_is_said_and_one_seed_in_both_groups_refused(tmp_path: Path) -> None:
    runs = [str(seeded(tmp_path / f"r{seed}", seed, 1e-4, 0.3)) for seed in range(4)]
    result, text = shown(tmp_path, runs[:2], runs[2:])
    assert result.groups.one_recipe and "A and B are one recipe: whatever differs here is chance" in text
    assert result.tasks[0].verdict in ("undecided", "no difference")
    again = str(seeded(tmp_path / "again", 0, 1e-4, 0.3))
    with pytest.raises(EvalError, match="have the same seeds"):
        shown(tmp_path, runs[:2], [runs[2], again])
    with pytest.raises(EvalError, match=r"r0/evals/step-20 is named twice"):
        shown(tmp_path, runs[:2], [runs[2], runs[0]])


def test_what_would_narrow_the_interval_is_the_larger_part(tmp_path: Path) -> None:
    """Where the seeds change nothing, items; the learned shift of one run far off makes it the seeds."""
    a, b = three(tmp_path, "a", 1e-4, 0.3), three(tmp_path, "b", 2e-4, 0.3)
    b[2] = str(seeded(tmp_path / "off", 9, 2e-4, 1.5))
    result, text = shown(tmp_path, a, b)
    assert result.tasks[0].verdict == "undecided" and "more runs of each would narrow it" in text
    assert narrower(result.tasks[0]).startswith("the seeds make")


def test_runs_without_a_recipe_are_taken_on_trust_and_named(tmp_path: Path) -> None:
    a, b = three(tmp_path, "a", 1e-4, 0.3), three(tmp_path, "b", 2e-4, 0.3)
    for run in b:
        (Path(run) / "recipe.resolved.json").unlink()
    result, text = shown(tmp_path, [f"{run}/evals/step-20" for run in a], b)
    assert len(result.groups.unchecked) == 3 and "taken on trust" in text


def test_what_are_no_two_groups_of_repetitions_is_refused(tmp_path: Path) -> None:
    a, b = three(tmp_path, "a", 1e-4, 0.3), three(tmp_path, "b", 2e-4, 0.3)
    with pytest.raises(EvalError, match="--against .*: name two or more runs of one recipe"):
        shown(tmp_path, a, b[:1])
    with pytest.raises(EvalError, match=r"differ in more than seeds[\s\S]*train.learning_rate"):
        shown(tmp_path, [a[0], b[0]], b[1:])
    with pytest.raises(EvalError, match="mmlu: not measured in every run; there is: quiz"):
        shown(tmp_path, a, b, tasks=["mmlu"])
    other = str(seeded(tmp_path / "other", 5, 2e-4, 0.3, hash_="bbbb"))
    with pytest.raises(EvalError, match=r"quiz: asked with other prompts \(hash aaaa in .*a0.*, bbbb in .*other"):
        shown(tmp_path, a, [b[0], other])
    fewer = str(seeded(tmp_path / "fewer", 6, 2e-4, 0.3, n=200))
    with pytest.raises(EvalError, match=r"quiz: .*a0.* and .*fewer.*differ in item_id"):
        shown(tmp_path, a, [b[0], fewer])
    later = str(run_of(tmp_path / "later", {40: right_or_wrong([True] * 300)}, 8, rate=2e-4))
    with pytest.raises(EvalError, match=r"compared at one step: .* at 20, .* at 40"):
        shown(tmp_path, a, [b[0], later])
    with pytest.raises(EvalError, match="two evaluations of one run are no two seeds"):
        both = str(run_of(tmp_path / "both", {0: right_or_wrong([True] * 300), 20: right_or_wrong([True] * 300)}, 8))
        shown(tmp_path, a, [f"{both}:0", f"{both}:20"])
