"""temper variance: numbers by hand, references, coverage by simulation, and what is claimed of simulated runs."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from rich.console import Console
from scipy.stats import bootstrap, chi2, kendalltau, nct, norm, pointbiserialr

from eval_hooks.errors import EvalError
from eval_hooks.table import choice_table, loss_table, read_table, recall_table, write_table
from eval_hooks.variance import Variance, half_width, variance
from eval_hooks.variance.items import analyse, difficulty, discrimination
from eval_hooks.variance.metrics import Metric, metrics
from eval_hooks.variance.recipes import check_repetitions, differences, leaves
from eval_hooks.variance.spread import (
    kendall,
    monotonicity,
    sigma_estimate,
    signal_to_noise,
    smallest_difference,
    spread,
)
from eval_hooks.variance.words import at_chance, doubts
from tests.eval_hooks.tables import answers, choices, right_or_wrong


def of_scores(
    scores: Any, better: str = "up", chance: float | None = None, half: float = 0.01, n: int = 500, grain: float = 0.0
) -> Any:
    array = np.array(scores, dtype=float)
    steps = tuple(range(array.shape[1]))
    return spread(
        task="t", metric="accuracy", better=better, steps=steps, scores=array, half_widths=[half] * len(array), n=n,
        chance=chance, grain=grain,
    )  # fmt: skip


def test_mean_spread_and_what_follows_by_hand() -> None:
    """Ends .50 .52 .54: mu .52, sigma .02; SNR 26, above .25 13.5; 2 sqrt(2) .02 = .0566; t(2) 4.3027: .1217.

    At the first checkpoint the runs are the same, at the second sigma is .01: the average over those that differ, .015.
    """
    found = of_scores([[0.3, 0.40, 0.50], [0.3, 0.41, 0.52], [0.3, 0.42, 0.54]], chance=0.25)
    assert found.mu == pytest.approx(0.52)
    assert found.sigma.value == pytest.approx(0.02)
    assert found.sigma_mean == pytest.approx(0.015)
    assert (found.snr.value, found.snr_above_chance.value) == pytest.approx((26.0, 13.5))
    assert found.two_root_two_sigma == pytest.approx(0.0565685)
    assert found.smallest == pytest.approx(4.302653 * np.sqrt(2) * 0.02)
    assert found.monotonicity.value == 1.0
    json.dumps(found.as_dict(), allow_nan=False)


def test_a_loss_falls_to_be_better_and_chance_lies_above_it() -> None:
    """Ends 1.0 and .8 against ln 4 = 1.386: mu .9, sigma .1414, signal .486 / .1414 = 3.44."""
    found = of_scores([[1.4, 1.2, 1.0], [1.4, 1.0, 0.8]], better="down", chance=float(np.log(4)))
    assert found.monotonicity.value == 1.0
    assert found.snr_above_chance.value == pytest.approx((np.log(4) - 0.9) / np.sqrt(0.02))


def test_tau_of_the_cards_scores_is_08_and_that_of_a_constant_is_none() -> None:
    """1 2 4 3 5: 9 concordant pairs, 1 discordant: .8. Constant, or fewer than three: NaN, and no number above it."""
    assert kendall(np.array([1, 2, 4, 3, 5])) == pytest.approx(0.8)
    assert np.isnan(kendall(np.ones(5))) and np.isnan(kendall(np.array([1.0, 2.0])))
    both = np.array([[1, 2, 4, 3, 5], [1, 2, 3, 4, 5]])
    found = monotonicity(both)
    assert (found.value, found.least, found.most) == pytest.approx((0.9, 0.8, 1.0))
    flat = monotonicity(np.array([[1, 2, 3], [2, 2, 2]]))
    assert flat.value is None and flat.reason == "1 of 2 runs have the same score at every checkpoint"
    few = monotonicity(np.array([[1, 2], [1, 3]]))
    assert few.value is None and few.reason == "a rank correlation needs 3 checkpoints, there are 2"


def test_tau_counts_ties_as_tau_b_does() -> None:
    """1 1 2 3: 5 concordant, 1 tied in the scores: 5 / sqrt(6 x 5)."""
    assert kendall(np.array([1, 1, 2, 3])) == pytest.approx(5 / np.sqrt(30))
    scores = np.random.default_rng(0).integers(0, 4, 21)
    assert kendall(scores) == pytest.approx(kendalltau(np.arange(21), scores).statistic)


def test_sigma_has_the_textbooks_interval_and_it_covers() -> None:
    """M = 10, s = 1: sqrt(9 / 19.023) = .6878 to sqrt(9 / 2.7004) = 1.8256. Over 4,000 draws 95 % hold the truth."""
    found = sigma_estimate(1.0, 10)
    assert (found.low, found.high) == pytest.approx((0.687840, 1.825617), abs=1e-5)
    drawn = np.random.default_rng(1).normal(scale=2.0, size=(4000, 5)).std(axis=1, ddof=1)
    inside = [e.low <= 2.0 <= e.high for e in (sigma_estimate(float(s), 5) for s in drawn)]
    assert np.mean(inside) == pytest.approx(0.95, abs=0.011)
    none = sigma_estimate(0.0, 3)
    assert none.low is none.high is None and none.reason == "the runs do not differ in any item"


def test_runs_with_the_same_share_of_items_have_a_bound_for_sigma() -> None:
    """M = 3, h = .01: r = .01 sqrt(4 / 36) = 1 / 300, times sqrt(2 / .0506356) = 6.2848: at most .02095.

    A spread of .02: (.02 - 1/300) sqrt(2 / 7.37776) = .00868 to (.02 + 1/300) 6.2848 = .14665.
    """
    found = sigma_estimate(0.0, 3, 0.01)
    assert (found.value, found.low, found.high) == pytest.approx((0.0, 0.0, 0.020949), abs=1e-5)
    found = sigma_estimate(0.02, 3, 0.01)
    assert (found.low, found.high) == pytest.approx((0.008678, 0.146645), abs=1e-5)


@pytest.mark.parametrize("runs", [2, 3, 10])
def test_the_smallest_difference_is_passed_by_one_pair_in_twenty(runs: int) -> None:
    """Two more runs that differ by their seeds alone, 20,000 times; the paper's 2 sqrt(2) sigma is passed more often."""
    rng = np.random.default_rng(runs)
    sigma = rng.normal(size=(20_000, runs)).std(axis=1, ddof=1)
    apart = np.abs(rng.normal(size=20_000) - rng.normal(size=20_000))
    assert np.mean(apart > smallest_difference(1.0, runs) * sigma) == pytest.approx(0.05, abs=0.005)
    assert np.mean(apart > 2 * np.sqrt(2) * sigma) > 0.07
    assert smallest_difference(1.0, 10_000) == pytest.approx(norm.ppf(0.975) * np.sqrt(2), rel=1e-3)


def test_the_smallest_difference_of_shares_is_never_under_one_item() -> None:
    """H = .01, 3 equal runs: 4.302653 sqrt(2) .01 / sqrt(12) = .01757; 1,000 equal runs: one item."""
    assert smallest_difference(0.0, 3, 0.01) == pytest.approx(0.017566, abs=1e-6)
    assert smallest_difference(0.0, 1000, 0.01) == 0.01
    assert of_scores([[0.5], [0.5]]).smallest is None


def test_signal_to_noise_has_the_interval_of_its_law_and_it_covers() -> None:
    """Runs of mean 3 sigma and of mean 0; in sigma's interval alone the second never held 0, whatever the runs."""
    found = signal_to_noise(3.0, sigma_estimate(1.0, 10))
    ends = [nct.cdf(3 * np.sqrt(10), 9, np.sqrt(10) * end) for end in (found.low, found.high)]
    assert found.value == 3.0 and ends == pytest.approx([0.975, 0.025], abs=1e-6)
    for truth in (3.0, 0.0):
        drawn = np.random.default_rng(2).normal(truth, 1.0, size=(4000, 4))
        each = [signal_to_noise(x.mean(), sigma_estimate(x.std(ddof=1), 4)) for x in drawn]
        assert np.mean([e.low <= truth <= e.high for e in each]) == pytest.approx(0.95, abs=0.011)
    below = signal_to_noise(-3.0, sigma_estimate(1.0, 10))
    assert (below.low, below.high) == pytest.approx((-found.high, -found.low))
    assert signal_to_noise(3.0, sigma_estimate(0.0, 10)).reason == "the runs do not differ"


def test_a_spread_that_may_be_none_leaves_signal_to_noise_open_above() -> None:
    """One of 12 runs an item off: sigma h / sqrt(12) = .2887 h, and r = h sqrt(13 / 144) = .3005 h."""
    found = of_scores([[0.50]] * 11 + [[0.51]], chance=0.25, grain=0.01)
    assert found.sigma.low == 0.0
    assert found.snr_above_chance.low > 0 and found.snr_above_chance.high is None
    worse = of_scores([[0.20]] * 11 + [[0.21]], chance=0.25, grain=0.01).snr_above_chance
    assert worse.low is None and worse.high < 0


def test_equal_scores_have_no_spread_however_their_mean_is_rounded() -> None:
    """.1 + .1 + .1 is not .3: numpy's spread of three runs at .1 is 1.7e-17."""
    assert of_scores([[0.1], [0.1], [0.1]]).sigma.reason == "the runs do not differ in any item"


def test_one_runs_interval_is_the_normal_one_or_resampled() -> None:
    """60 of 100: 1.96 sqrt(.6 x .4 / 100) = .0960; scipy's bootstrap gives the other."""
    flags = Metric(values=np.array([1.0] * 60 + [0.0] * 40))
    assert half_width(flags, "normal", 0) == pytest.approx(0.0960182, abs=1e-6)
    low, high = bootstrap((flags.values,), np.mean, method="percentile", n_resamples=4000, rng=0).confidence_interval
    assert half_width(flags, "bootstrap", 4000) == pytest.approx((high - low) / 2, abs=0.006)
    weighted = Metric(values=np.array([1.0, 3.0]), weights=np.array([3.0, 1.0]))
    assert weighted.score == 1.5
    assert half_width(weighted, "normal", 0) == pytest.approx(1.959964 * np.sqrt(1.5**2 + 1.5**2) / 4)


def test_metrics_of_a_letter_table_by_hand() -> None:
    """Logits ln 3 and 0, right option the first: p_gold .75, nll .2877; raw log-prob -1; guessing .5 and ln 2."""
    found = metrics(choices([[-1.0, -1.0 - np.log(3)]], [0]))
    assert found.keys() == {"accuracy", "p_gold", "nll", "logp_gold"}
    assert found["p_gold"].score == pytest.approx(0.75)
    assert found["nll"].score == pytest.approx(-np.log(0.75))
    assert found["logp_gold"].score == -1.0
    assert (found["accuracy"].chance, found["p_gold"].chance, found["logp_gold"].chance) == (0.5, 0.5, None)
    assert found["nll"].chance == pytest.approx(np.log(2))


def test_bits_per_character_are_of_cloze_only() -> None:
    """Right option of 4 characters at -8 ln 2 nats: 2 bits a character."""
    row = {"task": "t", "item_id": "0", "subject": "s", "variant": "olmes_cf", "shots": 0, "gold": 1,
           "logp": [-9.0, -8 * np.log(2)], "chars": [3, 4], "letter_mass": None, "prompt_tokens": 5}  # fmt: skip
    found = metrics(choice_table([row]))["bits_per_char"]
    assert (found.score, found.better) == (pytest.approx(2.0), "down")


def test_losses_are_weighted_by_tokens_and_recall_leaves_out_what_items_lack() -> None:
    rows = [
        {"task": "v", "item_id": str(i), "nll": nll, "n_tokens": n} for i, (nll, n) in enumerate([(6.0, 3), (1.0, 1)])
    ]
    assert metrics(loss_table(rows))["loss"].score == 7 / 4
    recall = {"task": "r", "item_id": "0", "prompt": "p", "output": None, "gold": "g", "value": "g", "correct": True,
              "em_value": 1.0, "em_answer": 1.0, "probability_value": 0.5, "probability_answer": 0.5,
              "truth_ratio": None, "rouge_l": None}  # fmt: skip
    assert metrics(recall_table([recall])).keys() == {
        "accuracy",
        "em_value",
        "em_answer",
        "probability_value",
        "probability_answer",
    }
    assert metrics(answers(["x"], ["x"])).keys() == {"accuracy"}


def test_difficulty_and_discrimination_are_scipys() -> None:
    correct = np.random.default_rng(0).integers(0, 2, (12, 30)).astype(float)
    correct[:, 0], correct[:, 1] = 1.0, 0.0
    total, found = correct.sum(axis=1), discrimination(correct)
    assert np.isnan(found[:2]).all()
    assert found[2:] == pytest.approx([pointbiserialr(correct[:, j], total).statistic for j in range(2, 30)])
    assert difficulty(correct)[:2].tolist() == [1.0, 0.0]


def test_items_are_counted_by_hand() -> None:
    """Two runs, one checkpoint; the second run is better. Items: never, always, with the better, with the worse, with it."""
    found = analyse(np.array([[[0, 1, 0, 1, 0]], [[0, 1, 1, 0, 1]]], dtype=float))
    assert (found.n, found.never, found.always, found.against, found.kept) == (5, 1, 1, 1, 2)
    assert found.mu_kept == 0.5 and found.sigma_kept == pytest.approx(np.sqrt(0.5))


def simulated(runs: int, checkpoints: int, seed: int, n: int = 500) -> np.ndarray:
    """Log-probabilities (runs, checkpoints, n, 4), the first option right: ability rises alike in all runs.

    Every checkpoint of every run has noise of its own in each option, and a letter mass that says nothing of the items.
    """
    rng = np.random.default_rng(seed)
    difficulties = np.random.default_rng(99).normal(scale=2.0, size=(n, 4))
    logits = difficulties + rng.normal(scale=0.3, size=(runs, checkpoints, n, 4))
    logits[..., 0] += np.linspace(1.0, 0.0, checkpoints)[::-1, None]  # the last has ability 1
    logp = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    return logp + np.log(rng.uniform(0.3, 0.9, (runs, checkpoints, 1, 1)))


def test_on_simulated_runs_the_probability_shows_what_accuracy_hides() -> None:
    """In simulated runs sigma of accuracy is the simulation's, SNR(p_gold) > SNR(accuracy), mon(p_gold) >= mon(accuracy).

    Neither the unnormalised probability nor a wrong option's would pass: the first has the letter mass for noise, the
    second falls as ability rises.
    """
    logp = simulated(10, 10, seed=0)
    found = [[metrics(choices(one.tolist(), [0] * 500)) for one in run] for run in logp]
    accuracy, p_gold = (
        of_scores([[one[name].score for one in run] for run in found], chance=0.25) for name in ("accuracy", "p_gold")
    )
    truth = (simulated(400, 1, seed=1).argmax(axis=-1) == 0).mean(axis=-1).std(ddof=1)  # one checkpoint: the last
    low, high = (accuracy.sigma.value * np.sqrt(9 / chi2.ppf(p, 9)) for p in (0.999, 0.001))
    assert low <= truth <= high
    assert p_gold.snr_above_chance.value > accuracy.snr_above_chance.value
    assert p_gold.snr.value > accuracy.snr.value
    assert p_gold.monotonicity.value >= accuracy.monotonicity.value > 0.5

    raw = of_scores([[np.exp(one["logp_gold"].values).mean() for one in run] for run in found])
    assert raw.snr.value < accuracy.snr.value and raw.monotonicity.value < accuracy.monotonicity.value
    wrong = of_scores([[metrics(choices(one.tolist(), [1] * 500))["p_gold"].score for one in run] for run in logp[:2]])
    assert wrong.monotonicity.value < 0


def test_a_score_at_chance_is_called_so() -> None:
    assert at_chance(of_scores([[0.26], [0.24]], chance=0.25))
    assert not at_chance(of_scores([[0.66], [0.64]], chance=0.25))
    assert at_chance(of_scores([[1.39], [1.38]], better="down", chance=1.386))
    assert not at_chance(of_scores([[0.01], [0.0]], chance=0.0))


def run_of(folder: Path, tables: dict[int, pa.Table], seed: int | None = 0, **more: Any) -> Path:
    """A run folder with one task, no more of a summary than what is read; `seed` None leaves no recipe."""
    for step, table in tables.items():
        place = folder / "evals" / f"step-{step}"
        place.mkdir(parents=True)
        write_table(table, place / "quiz.parquet")
        task = {"status": "ok", "role": "retain", "prompt_hash": more.get("hash_", "aaaa")}
        summary = {"step": step, "tokens": more.get("tokens", 100) * step or None, "tasks": {"quiz": task}}
        (place / "summary.json").write_text(json.dumps(summary))
    if seed is not None:
        recipe = {
            "name": folder.name,
            "train": {"seed": seed, "learning_rate": more.get("rate", 1e-4)},
            "data": [{"n": 4}],
        }
        (folder / "recipe.resolved.json").write_text(json.dumps(recipe))
    return folder


def rising(seed: int, n: int = 40) -> dict[int, pa.Table]:
    """Three checkpoints out of order, each with more right answers."""
    rng = np.random.default_rng(seed)
    return {step: right_or_wrong(rng.uniform(size=n) < 0.4 + step / 100) for step in (40, 0, 20)}


def of(tmp_path: Path, *runs: Path, **how: Any) -> tuple[Variance, str]:
    console = Console(file=io.StringIO(), width=80)
    result = variance([str(run) for run in runs], out=tmp_path / "out", console=console, **how)
    return result, console.file.getvalue()


def test_runs_are_read_shown_drawn_and_kept(tmp_path: Path) -> None:
    runs = [run_of(tmp_path / f"r{seed}", rising(seed), seed) for seed in range(3)]
    result, text = of(tmp_path, *runs)
    assert result.steps == (0, 20, 40) and result.tasks == ("quiz",)
    first = result.spreads[0]
    ends = [np.mean(rising(seed)[40].column("correct").to_pylist()) for seed in range(3)]
    assert first.mu == pytest.approx(np.mean(ends)) and first.sigma.value == pytest.approx(np.std(ends, ddof=1))
    assert (
        f"two more runs of this recipe differ by more than {100 * first.smallest:.1f} points in 5 % of cases"
        in " ".join(text.split())
    )
    for metric in ("accuracy", "p_gold", "nll", "logp_gold"):
        assert f"\n{metric} " in text
    assert all(len(line) <= 80 for line in text.splitlines() if line.startswith(("accuracy", "logp_gold", "nll")))
    assert Image.open(tmp_path / "out" / "variance.png").width == 1600
    kept = json.loads((tmp_path / "out" / "variance.json").read_text())
    assert kept["metrics"][0]["sigma"]["value"] == first.sigma.value
    assert kept["items"]["quiz"]["n"] == 40 and kept["recipes_not_found"] == []
    items = read_table(tmp_path / "out" / "items.parquet").to_pylist()
    right = [t.column("correct")[0].as_py() for seed in range(3) for t in rising(seed).values()]
    assert len(items) == 40 and items[0]["item_id"] == "0" and items[0]["difficulty"] == pytest.approx(np.mean(right))


def test_only_what_was_asked_for_is_shown_and_the_interval_may_be_resampled(tmp_path: Path) -> None:
    runs = [run_of(tmp_path / f"r{seed}", rising(seed), seed) for seed in range(2)]
    result, _ = of(tmp_path, *runs, tasks=["quiz"], metrics=["p_gold"], ci="bootstrap", n_boot=500)
    assert [one.metric for one in result.spreads] == ["p_gold"]
    plain = of(tmp_path, *runs, metrics=["p_gold"])[0].spreads[0]
    assert result.spreads[0].half_width == pytest.approx(plain.half_width, rel=0.15)
    with pytest.raises(EvalError, match="metric bleu: not in these tables; there is: accuracy, logp_gold, nll, p_gold"):
        of(tmp_path, *runs, metrics=["bleu"])
    with pytest.raises(
        EvalError, match="not all of mmlu were measured in every run at steps 0, 20, 40; there is: quiz"
    ):
        of(tmp_path, *runs, tasks=["mmlu"])


def test_few_items_few_checkpoints_and_no_recipe_are_said(tmp_path: Path) -> None:
    tables = [{step: t.slice(0, 9) for step, t in rising(seed).items() if step != 20} for seed in range(2)]
    result, text = of(tmp_path, *(run_of(tmp_path / f"r{i}", t, None) for i, t in enumerate(tables)))
    assert result.spreads[0].monotonicity.reason == "a rank correlation needs 3 checkpoints, there are 2"
    assert "quiz: 9 items are too few" in text
    assert sum("taken on trust" in doubt for doubt in doubts(result)) == 2


def test_steps_that_not_all_runs_have_are_left_out(tmp_path: Path) -> None:
    short = {step: table for step, table in rising(1).items() if step != 20}
    result, _ = of(tmp_path, run_of(tmp_path / "a", rising(0), 0), run_of(tmp_path / "b", short, 1))
    assert result.steps == (0, 40)


def test_one_run_is_no_spread(tmp_path: Path) -> None:
    run = run_of(tmp_path / "a", rising(0))
    with pytest.raises(EvalError, match="name two or more runs of one recipe"):
        of(tmp_path, run)
    with pytest.raises(ValueError, match="a spread needs two runs, got 1"):
        of_scores([[0.5]])
    with pytest.raises(EvalError, match="no evaluation there"):
        of(tmp_path, run, tmp_path / "none")


def test_recipes_that_differ_in_more_than_seeds_are_refused_with_what_differs(tmp_path: Path) -> None:
    a, b = run_of(tmp_path / "a", rising(0), 0), run_of(tmp_path / "b", rising(1), 1, rate=2e-4)
    with pytest.raises(EvalError, match=r"differ in more than seeds[\s\S]*\n  train.learning_rate: 0.0001 \| 0.0002$"):
        of(tmp_path, a, b)
    with pytest.raises(EvalError, match="have the same seeds"):
        of(tmp_path, a, run_of(tmp_path / "c", rising(1), 0))
    with pytest.raises(EvalError, match="have the same seeds"):
        check_repetitions([a, a])


def test_a_recipe_is_compared_leaf_by_leaf() -> None:
    one = {"data": {"train": [{"n": 1, "seed": 3}], "validation": []}, "name": "x", "track": {"wandb": None}}
    other = {"data": {"train": [{"n": 2, "seed": 4}], "validation": [{"n": 1}]}, "name": "y", "track": {"wandb": "z"}}
    flat = dict(leaves(one))
    assert flat == {
        "data.train.0.n": 1,
        "data.train.0.seed": 3,
        "data.validation": [],
        "name": "x",
        "track.wandb": None,
    }
    assert differences([flat, dict(leaves(other))]) == {
        "data.train.0.n": [1, 2], "data.validation": [[], None], "data.validation.0.n": [None, 1]}  # fmt: skip
    assert differences([flat, flat]) == {} == differences([])


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"hash_": "bbbb"}, "asked with other prompts"),
        ({"tokens": 200}, "step 20 is not the same place in the runs"),
    ],
)
def test_runs_that_were_asked_or_trained_otherwise_are_refused(tmp_path: Path, how: Any, said: str) -> None:
    a, b = run_of(tmp_path / "a", rising(0), 0), run_of(tmp_path / "b", rising(1), 1, **how)
    with pytest.raises(EvalError, match=said):
        of(tmp_path, a, b)


def test_other_items_no_shared_step_and_no_number_are_refused(tmp_path: Path) -> None:
    a = run_of(tmp_path / "a", rising(0), 0)
    with pytest.raises(EvalError, match=r"quiz: .*/a/.* and .*/b/.*: before and after differ in item_id"):
        of(tmp_path, a, run_of(tmp_path / "b", rising(1, n=30), 1))
    with pytest.raises(EvalError, match=r"share no evaluated step: .*/a at 0, 20, 40; .*/c at 7"):
        of(tmp_path, a, run_of(tmp_path / "c", {7: right_or_wrong([True] * 40)}, 2))
    broken = rising(3)
    values = broken[20].column("p_gold").to_pylist()
    values[5] = float("nan")
    at = broken[20].column_names.index("p_gold")
    broken[20] = broken[20].set_column(at, "p_gold", pa.array(values, type=pa.float64()))
    with pytest.raises(EvalError, match=r"quiz: p_gold of item 5 in .*/d/evals/step-20 is no number"):
        of(tmp_path, a, run_of(tmp_path / "d", broken, 3))
