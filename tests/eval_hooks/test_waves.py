"""Evaluations in waves: what is drawn, when they end, and that a part's numbers are those of all items."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from scipy.integrate import quad
from sklearn.metrics import roc_auc_score
from transformers import LlamaForCausalLM

from eval_hooks import CheckpointEval, EvalError
from eval_hooks.calibration.ece import ece
from eval_hooks.calibration.ranking import aurc, auroc
from eval_hooks.config import Budget, TaskSpec
from eval_hooks.cost import Cost
from eval_hooks.forward import no_progress
from eval_hooks.measure import measure
from eval_hooks.part import NUMBERS, moved_ece, summarise_part, weighted_aurc, weighted_auroc
from eval_hooks.ready import load_items, reader_of, ready
from eval_hooks.report.words import flipped, items, kept
from eval_hooks.retention.flips import e_value_drop
from eval_hooks.summary import summarise_task
from eval_hooks.table import column
from eval_hooks.waves import MMLU, Drawn, Looks, in_waves, shares, wave_sizes
from tests.eval_hooks.tables import choices, random_choices
from tests.eval_hooks.test_callback import all_right, bare, summaries

ENTRY = {"role": "retain", "kind": "choice", "prompt_hash": "h"}


def logits_of(table: pa.Table) -> np.ndarray:
    return np.array(table.column("logp").to_pylist())


def noisy(before: pa.Table, noise: float, shift: float = 0.0, seed: int = 1) -> pa.Table:
    """The same items after training: every logit moves a little; the right one also by `shift`."""
    rng, logp = np.random.default_rng(seed), logits_of(before)
    gold = column(before, "gold")
    after = logp + noise * rng.normal(size=logp.shape)
    after[np.arange(len(gold)), gold] += shift
    return choices(after.tolist(), gold.tolist(), before.column("subject").to_pylist())


def drawn_from(before: pa.Table, after: pa.Table, looks: Looks, **more: Any) -> Drawn:
    """An evaluation in waves where the later table stands in for the model."""
    drawn = Drawn(before, looks, **more)
    while (wave := drawn.next()) is not None:
        drawn.add(wave, after.take(wave))
    return drawn


def test_wave_sizes_of_mmlu_and_in_proportion() -> None:
    """Of fewer, 50 at least; then half of what is left while two waves of 50 are; alpha is spent before the last."""
    first = [400, 400, 400, 400, 600, 800, 1000, 1500, 2500]
    assert wave_sizes(MMLU) == [*first, 3021, 1510, 755, 378, 189, 94, 95]
    assert wave_sizes(2808)[:6] == [80, 80, 80, 80, 120, 160] and wave_sizes(500)[-3:] == [53, 89, 8]
    assert wave_sizes(60) == [50, 10] and wave_sizes(20) == [20]
    assert all(sum(wave_sizes(n)) == n for n in range(1, 3000, 7))
    spent = shares(wave_sizes(MMLU))
    assert len(spent) == 15 and sum(spent) == pytest.approx(1) and spent[0] == pytest.approx(4 * spent[9])


def test_a_small_change_is_decided_early_and_the_interval_holds_the_truth() -> None:
    before = random_choices(6000, skill=2.0)
    after = noisy(before, 0.1)
    truth = (column(after, "correct").astype(float) - column(before, "correct")).mean()
    drawn = drawn_from(before, after, Looks(allowed=0.02))
    low, high = drawn.interval(0.05)
    assert len(drawn.items) < 3000 and "excluded" in drawn.end
    assert low <= truth <= high and high - low < 0.04
    assert len(set(drawn.items.tolist())) == len(drawn.items)


def test_a_great_loss_is_proven_at_the_first_look() -> None:
    before = random_choices(6000, skill=2.0)
    drawn = drawn_from(before, noisy(before, 0.5, shift=-2.5), Looks(allowed=0.02))
    assert drawn.looked == 1 and "proven" in drawn.end and "2 points" in drawn.end


def test_with_all_items_scored_it_is_the_plain_pass() -> None:
    """A loss of exactly what is allowed is never decided; then all are scored, and the summary is the usual one."""
    before = random_choices(300, skill=1.0)
    after = noisy(before, 0.8)
    truth = float((column(after, "correct").astype(float) - column(before, "correct")).mean())
    drawn = drawn_from(before, after, Looks(allowed=-truth))
    assert drawn.whole and drawn.change().value == pytest.approx(truth) and drawn.change().se == 0
    whole = summarise_task(after, role="retain", baseline=before, drawn=drawn)
    plain = summarise_task(after, role="retain", baseline=before)
    assert whole.pop("waves")["end"] == "all items are scored" and plain.pop("waves") is None
    assert whole == plain


def test_no_wave_begins_when_the_cost_limit_is_used_up_but_one_always_does() -> None:
    before = random_choices(2000, skill=1.0)
    drawn = drawn_from(before, noisy(before, 0.8), Looks(allowed=0.0001), used_up=lambda: True)
    assert (drawn.looked, drawn.end) == (1, "eval.cost_limit is used up")


def test_what_flipped_before_steers_where_is_looked() -> None:
    before = random_choices(2000, skill=2.0)
    plain = Drawn(before, Looks(allowed=0.01))
    record = {"scored": [100] * 10, "flips": [0] * 9 + [60]}
    steered = Drawn(before, Looks(allowed=0.01), record)
    counts = [np.bincount(d.stratum[d.next()], minlength=10) for d in (plain, steered)]
    assert counts[0][0] > counts[0][9] and counts[1][9] > counts[1][0]


def test_a_base_without_numbers_is_refused() -> None:
    before = random_choices(100)
    broken = before.set_column(
        before.column_names.index("logp"), "logp", pa.array([[float("nan")] * 4] * 100, pa.list_(pa.float32()))
    )
    with pytest.raises(EvalError, match="no margin"):
        Drawn(broken, Looks(allowed=0.01))


def part_of(before: pa.Table, after: pa.Table, **looks: Any) -> tuple[dict[str, Any], Drawn]:
    drawn = drawn_from(before, after, Looks(**looks))
    table = after.take(drawn.items)
    return summarise_part(table, drawn, entry=ENTRY, margin=0.02, baseline_step=0), drawn


def test_a_part_says_what_all_items_say() -> None:
    """Every number lies within 4 standard errors (or twice its interval) of that of the whole pass, over 2 models."""
    before = random_choices(5000, skill=2.0)
    for seed, (noise, shift) in enumerate([(0.1, 0.0), (0.4, -0.6)]):
        after = noisy(before, noise, shift, seed=seed + 5)
        entry, drawn = part_of(before, after, allowed=0.03)
        whole = summarise_task(after, role="retain", baseline=before)
        assert entry["status"] == "stopped_early" and entry["n"] < entry["of"] == 5000
        for name in ("ece", "auroc", "aurc", "brier", "brier_top_label", "nll"):
            mine, truth = entry["calibration"][name], whole["calibration"][name]["value"]
            half = (mine["high"] - mine["low"]) / 2
            assert abs(mine["value"] - truth) <= 2 * half, (name, mine, truth)
        assert "no coverage is claimed" in entry["calibration"]["ece"]["method"]
        for mine, truth in (
            (entry["retention"]["ece_rise"], whole["retention"]["ece_rise"]),
            (entry["accuracy"], whole["accuracy"]),
            (entry["retention"]["delta"], whole["retention"]["delta"]),
            (entry["retention"]["chance_corrected"], whole["retention"]["chance_corrected"]),
        ):
            assert mine["low"] <= truth["value"] <= mine["high"]
        assert entry["retention"]["lost"] == pytest.approx(whole["retention"]["lost"], abs=120)
        assert drawn.weights().sum() == pytest.approx(5000)
        assert "of 5000" in items(entry) and "estimated" in flipped(entry["retention"]) and kept(entry["retention"])


def test_an_unweighted_mutant_of_a_part_is_caught() -> None:
    """Items with small margins are drawn most and are right less often: their plain mean is far from that of all."""
    before = random_choices(5000, skill=2.0)
    after = noisy(before, 0.2)
    entry, drawn = part_of(before, after, allowed=0.03)
    truth = column(after, "correct").mean()
    plain = column(after.take(drawn.items), "correct").mean()
    assert entry["accuracy"]["low"] <= truth <= entry["accuracy"]["high"]
    assert not entry["accuracy"]["low"] <= plain <= entry["accuracy"]["high"]


def test_weighted_numbers_are_those_of_repeated_items() -> None:
    """Whole weights: AUROC as of the items repeated, as scikit-learn has it; equal weights: the plain numbers."""
    rng = np.random.default_rng(0)
    conf, correct, weight = rng.random(200), (rng.random(200) < 0.6).astype(float), rng.integers(0, 5, 200)
    many = (np.repeat(conf, weight), np.repeat(correct, weight))
    assert weighted_auroc(conf, correct, weight) == pytest.approx(auroc(*many))
    assert weighted_auroc(conf, correct, weight) == pytest.approx(roc_auc_score(*many[::-1]))
    assert weighted_aurc(conf, correct, weight) == pytest.approx(aurc(*many), rel=0.02)
    same, tied = np.full(200, 2.5), np.round(conf, 1)
    for name, plain in (("auroc", auroc), ("aurc", aurc)):
        for confidence in (conf, tied):
            assert NUMBERS[name](confidence, correct, same) == pytest.approx(plain(confidence, correct)), name


def test_ece_of_a_part_is_that_of_all_items_where_nothing_moved_and_where_everything_is_scored() -> None:
    before = random_choices(400)
    conf, correct = (column(before, name).astype(float) for name in ("conf", "correct"))
    drawn = drawn_from(before, before, Looks(allowed=0.2))
    part = before.take(drawn.items)
    assert moved_ece(drawn, part, part)(drawn.weights()) == pytest.approx(ece(conf, correct))
    after = noisy(before, 0.5)
    truth = float((column(after, "correct").astype(float) - correct).mean())
    every = drawn_from(before, after, Looks(allowed=-truth))
    found = moved_ece(every, before, after)(np.ones(400))
    assert every.whole and found == pytest.approx(ece(column(after, "conf"), column(after, "correct").astype(float)))


def test_the_one_sided_e_value_is_its_integral() -> None:
    """E = 2 int_{1/2}^1 p^lost (1 - p)^gained dp 2^(lost + gained); its mean under the null is one."""
    for lost, gained in ((0, 0), (5, 2), (2, 5), (20, 4)):
        integral = quad(lambda p, b=lost, c=gained: p**b * (1 - p) ** c, 0.5, 1)[0]
        assert e_value_drop(lost, gained) == pytest.approx(2 * integral * 2.0 ** (lost + gained))
    from scipy.stats import binom

    assert sum(binom.pmf(b, 30, 0.5) * e_value_drop(b, 30 - b) for b in range(31)) == pytest.approx(1.0)


def test_the_e_value_stays_below_twenty_in_nineteen_of_twenty_null_runs_looked_at_after_every_flip() -> None:
    """Ville: the chance that it ever reaches 1 / alpha is at most alpha."""
    rng, ever, known = np.random.default_rng(0), 0, cache(e_value_drop)
    for _ in range(1000):
        losses = np.cumsum(rng.random(200) < 0.5)
        ever += any(known(int(b), n + 1 - int(b)) >= 20 for n, b in enumerate(losses))
    assert ever / 1000 <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 1000)


POCKET = TaskSpec(task="pocket", variant="olmes_cf", shots=0, limit=90)


def test_on_a_live_model_all_waves_together_are_the_whole_table(small_tokenizer: Any, tiny: LlamaForCausalLM) -> None:
    """The same model as the base: nothing flips. Under a limit that nothing can satisfy every item is scored."""
    reader = reader_of(tiny, small_tokenizer, {})
    task = ready(POCKET, "retain", reader, load_items(POCKET))
    before, heard = measure(task, tiny, reader), []
    drawn = Drawn(before, Looks(allowed=0.0))
    table = in_waves(task, tiny, drawn, heard.append)
    assert drawn.whole and sum(heard) == 90
    assert table.column("item_id") == before.column("item_id")
    assert np.allclose(logits_of(table), logits_of(before), atol=1e-4)
    drawn = Drawn(before, Looks(allowed=0.3))
    part = in_waves(task, tiny, drawn, no_progress)
    assert 0 < part.num_rows == len(drawn.items) < 90
    assert part.column("item_id") == before.take(drawn.items).column("item_id")


def waved(tmp_path: Path, small_tokenizer: Any, steps: int = 6, **more: Any) -> dict[int, dict[str, Any]]:
    task = {"task": "pocket", "variant": "olmes_cf", "shots": 0, "limit": 120}
    callback = CheckpointEval(retain=[task], every=2, out=tmp_path / "run", order="waves", **more)
    bare(small_tokenizer, tmp_path, callback, steps=steps, learning_rate=1e-5).train()
    return summaries(tmp_path / "run")


def test_in_a_trainer_between_the_ends_in_waves_and_whole_at_both(small_tokenizer: Any, tmp_path: Path) -> None:
    """Of a run with two evaluations between its ends each may spend a third of .2 * .05, whatever its waves end at."""
    found = waved(tmp_path, small_tokenizer, margin=0.3)
    tasks = [found[step]["tasks"]["pocket"] for step in (0, 2, 4, 6)]
    assert [task["status"] for task in tasks] == ["ok", "stopped_early", "stopped_early", "ok"]
    assert [task["n"] == task["of"] for task in tasks] == [True, False, False, True]
    assert tasks[1]["waves"]["alpha"] == pytest.approx(0.2 * 0.05 / 3)
    assert tasks[3]["retention"]["baseline_step"] == 0 and tasks[1]["retention"]["minimum_detectable"] > 0
    assert found[0]["foreseen"]["evaluations"] == 3 and found[0]["foreseen"]["seconds"] > 0
    cost = [found[step]["cost"] for step in (0, 2, 4, 6)]
    assert 0 == cost[0]["evaluation_seconds"] < cost[1]["evaluation_seconds"] < cost[2]["evaluation_seconds"]
    assert cost[2]["evaluation_seconds"] == cost[3]["evaluation_seconds"]  # the last pass does not count
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    of_counts = ["eval/pocket/retention/e_value_drop" in line for line in lines]
    assert of_counts == [False, False, False, True], "a weighted sample's counts have no e-value"


def test_a_run_that_its_budget_stops_is_measured_whole_where_it_ends(small_tokenizer: Any, tmp_path: Path) -> None:
    """The base's table says that all was right: the first wave proves a loss, and the end is scored whole."""
    task = {"task": "pocket", "variant": "olmes_cf", "shots": 0, "limit": 120}
    budget, status = Budget(accuracy_drop=0.05, action="stop"), []
    callback = CheckpointEval(retain=[task], every=1, out=tmp_path / "run", order="waves", budget=budget)
    take_away = all_right(tmp_path / "run")

    def note(summary: dict[str, Any]) -> None:
        status.append((summary["step"], summary["tasks"]["pocket"]["status"]))
        take_away(summary)

    callback.on_summary = note
    bare(small_tokenizer, tmp_path, callback, steps=4).train()
    assert callback.stopped and status == [(0, "ok"), (1, "stopped_early"), (1, "ok")]


def test_a_cost_limit_needs_waves() -> None:
    with pytest.raises(EvalError, match="cost_limit 0.1.*set eval.order: waves"):
        CheckpointEval(retain=["pocket"], cost_limit=0.1)


def test_the_two_clocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """10 s of training, 3 of measuring that count, 5 of training, 4 that do not; a limit of 20 % is 2 s, then 3."""
    now = [0.0]
    monkeypatch.setattr("eval_hooks.cost.time.monotonic", lambda: now[0])
    cost = Cost(limit=0.2)

    def spend(seconds: float, counts: bool) -> list[bool]:
        with cost.measuring(counts):
            now[0] += seconds / 2
            half = cost.used_up()
            now[0] += seconds / 2
            return [half, cost.used_up()]

    now[0] += 10
    assert spend(3, counts=True) == [False, True]
    now[0] += 5
    spend(4, counts=False)
    assert cost.entry() == {"training_seconds": 15.0, "evaluation_seconds": 3.0, "share_of_training": 0.2}
    assert Cost(0.2, cost.entry()).measured == 3.0
