"""CheckpointEval in somebody else's trainer: a bare transformers.Trainer and trl.SFTTrainer, without a recipe."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch
from datasets import Dataset
from transformers import Trainer, TrainingArguments

from eval_hooks import CheckpointEval
from eval_hooks.config import Budget, Lr, TaskSpec
from eval_hooks.errors import EvalError
from eval_hooks.items import LossItem
from eval_hooks.ready import load_items
from eval_hooks.report.words import line
from eval_hooks.table import read_table, write_table
from eval_hooks.track import Tracker
from tests.conftest import SMALL_VOCABULARY, tiny_llama

pytestmark = pytest.mark.usefixtures("few_resamples")

POCKET = {"task": "pocket", "variant": "olmes_cf", "shots": 0, "limit": 30}
QUIET = {
    "report_to": "none",
    "use_cpu": True,
    "save_strategy": "no",
    "disable_tqdm": True,
    "per_device_train_batch_size": 2,
}


@pytest.fixture
def tokenizer(small_tokenizer: Any) -> Any:
    """The small one: what is measured here is no matter of words."""
    return small_tokenizer


def summaries(folder: Path) -> dict[int, dict[str, Any]]:
    read = [json.loads(file.read_text()) for file in folder.glob("evals/step-*/summary.json")]
    return {summary["step"]: summary for summary in read}


def bare(
    tokenizer: Any, tmp_path: Path, callback: CheckpointEval, steps: int = 4, held_out: bool = False, **more: Any
) -> Trainer:
    vocabulary = len(tokenizer) if tokenizer else SMALL_VOCABULARY
    ids = torch.randint(0, vocabulary, (8, 12), generator=torch.Generator().manual_seed(0)).tolist()
    arguments = TrainingArguments(output_dir=str(tmp_path / "out"), max_steps=steps, **{**QUIET, **more})
    rows = Dataset.from_dict({"input_ids": ids, "labels": ids})
    return Trainer(
        tiny_llama(vocabulary), arguments, train_dataset=rows, eval_dataset=rows if held_out else None,
        processing_class=tokenizer, callbacks=[callback],
    )  # fmt: skip


def all_right(run: Path) -> Callable[[dict[str, Any]], None]:
    """Rewrites the base's table of the pocket bank, once it is there, so that every item was right."""

    def rewrite(summary: dict[str, Any]) -> None:
        if summary["step"] == 0:
            path = run / "evals" / "step-0" / "pocket.parquet"
            table = read_table(path)
            place = table.column_names.index("correct")
            write_table(table.set_column(place, "correct", pa.array([True] * table.num_rows)), path)

    return rewrite


def test_one_task_with_and_without_the_template_and_one_of_lm_evals(tokenizer: Any, tmp_path: Path) -> None:
    """Two entries of one task differ by name: own tables, own keys, own pairs. The third is a YAML file of the user's."""
    pytest.importorskip("lm_eval", reason="lm-eval is not installed: pip install 'tempering[eval]'")
    (tmp_path / "rows.jsonl").write_text("".join(f'{{"q": "{i} and 1?", "a": "{i + 1}"}}\n' for i in range(6)))
    (tmp_path / "sums.yaml").write_text(
        f"task: sums\ndataset_path: json\ndataset_kwargs: {{data_files: {{test: {tmp_path}/rows.jsonl}}, "
        f"cache_dir: {tmp_path}/cache}}\ntest_split: test\noutput_type: multiple_choice\ndoc_to_text: '{{{{q}}}}'\n"
        "doc_to_choice: ['1', '2', '3', '4', '5', '6']\ndoc_to_target: '{{a|int - 1}}'\n"
    )
    entries = [POCKET, {**POCKET, "name": "pocket_chat", "chat_template": True},
               {"task": "lm_eval:sums", "include_path": str(tmp_path)}]  # fmt: skip
    callback = CheckpointEval(retain=entries, out=tmp_path / "run")
    bare(tokenizer, tmp_path, callback, learning_rate=1e-2).train()
    tasks = summaries(tmp_path / "run")[4]["tasks"]
    assert list(tasks) == ["pocket", "pocket_chat", "sums"]
    assert {task["retention"]["baseline_step"] for task in tasks.values()} == {0}
    assert tasks["pocket"]["prompt_hash"] != tasks["pocket_chat"]["prompt_hash"]
    assert tasks["pocket_chat"]["first_prompt"].startswith("<|im_start|>")
    assert tasks["sums"]["metrics"]["acc"]["value"] == pytest.approx(tasks["sums"]["accuracy"]["value"])
    line = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[-1])
    assert {"eval/pocket_chat/accuracy", "eval/sums/acc", "eval/sums/calibration/ece"} <= line.keys()


def test_in_a_bare_trainer(tokenizer: Any, tmp_path: Path) -> None:
    """Step 0, every second step and the end; each later one paired with step 0; the model left in training mode."""
    loss = [LossItem(item_id="0", input_ids=(1, 2, 3, 4), labels=(-100, 2, 3, 4))]
    callback = CheckpointEval(retain=[POCKET], every=2, out=tmp_path / "run", held_out={"held": loss})
    bare(tokenizer, tmp_path, callback, learning_rate=1e-2).train()
    found = summaries(tmp_path / "run")
    assert sorted(found) == [0, 2, 4]
    assert found[0]["tasks"]["pocket"]["retention"] is None
    kept = found[4]["tasks"]["pocket"]["retention"]
    assert kept["verdict"] in {"kept", "undecided", "dropped", "gained"}
    tables = [read_table(tmp_path / "run" / "evals" / f"step-{s}" / "pocket.parquet") for s in (0, 4)]
    right = [table.column("correct").to_pylist() for table in tables]
    assert kept["lost"] == sum(a and not b for a, b in zip(*right, strict=True))
    assert found[0]["validation"]["held"]["tokens"] == 3
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [0, 2, 4]
    assert {"eval/pocket/accuracy", "val/held/loss"} <= lines[0].keys()
    assert "eval/pocket/retention/delta" in lines[1]


def test_in_trls_sft_trainer(tokenizer: Any, tmp_path: Path) -> None:
    from trl import SFTConfig, SFTTrainer

    rows = Dataset.from_dict({"prompt": ["a", "b"] * 4, "completion": ["c", "d"] * 4})
    arguments = SFTConfig(output_dir=str(tmp_path / "out"), max_steps=2, activation_checkpointing=False, **QUIET)
    callback = CheckpointEval(retain=["pocket"], out=tmp_path / "run")
    callback.entries = [(type(spec)(task="pocket", shots=0, limit=8), role) for spec, role in callback.entries]
    SFTTrainer(
        tiny_llama(len(tokenizer)), args=arguments, train_dataset=rows, processing_class=tokenizer, callbacks=[callback]
    ).train()
    assert sorted(summaries(tmp_path / "run")) == [0, 2]


def test_measuring_changes_no_weight_and_no_random_number(tokenizer: Any, tmp_path: Path) -> None:
    """Training with and without the callback ends in the same weights, dropout included."""
    ends = []
    for every in (1, None):
        callback = CheckpointEval(retain=[POCKET] if every else [], every=every, out=tmp_path / f"run{every}")
        trainer = bare(tokenizer, tmp_path, callback)
        trainer.model.config.attention_dropout = 0.1
        for layer in trainer.model.model.layers:
            layer.self_attn.attention_dropout = 0.1
        trainer.train()
        ends.append([p.detach().clone() for p in trainer.model.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*ends, strict=True))


class Listening:
    """A W&B run that remembers whom it called."""

    def __init__(self) -> None:
        self.alerts: list[tuple[str, str]] = []
        self.summary: dict[str, Any] = {}

    def define_metric(self, *args: Any, **kwargs: Any) -> None: ...

    def log(self, values: Any) -> None: ...

    def alert(self, title: str, text: str, level: Any) -> None:
        self.alerts.append((title, text))


def test_a_budget_stops_the_run_where_a_loss_is_proven(tokenizer: Any, tmp_path: Path) -> None:
    """A base that always answers A loses all when trained to the opposite; here: the items it had right are taken away.

    The base's table is rewritten so that every item was right before: the loss at step 1 is then beyond doubt.
    """
    listening = Listening()
    callback = CheckpointEval(
        retain=[POCKET], every=1, out=tmp_path / "run", budget={"accuracy_drop": 0.05, "action": "stop"},
        tracker=Tracker(tmp_path / "run", listening),
    )  # fmt: skip
    trainer = bare(tokenizer, tmp_path, callback, steps=5)
    callback.on_summary = all_right(tmp_path / "run")
    trainer.train()
    assert callback.stopped and "pocket: accuracy fell by more than 0.05" in callback.stopped
    assert trainer.state.global_step == 1
    assert listening.alerts == [("budget crossed", f"{callback.stopped}; action: stop")]


def test_a_task_that_breaks_is_a_failed_row_and_the_run_goes_on(tokenizer: Any, tmp_path: Path) -> None:
    callback = CheckpointEval(retain=[POCKET], out=tmp_path / "run")
    trainer = bare(tokenizer, tmp_path, callback, steps=1)
    with torch.no_grad():
        trainer.model.lm_head.weight.fill_(float("nan"))
    trainer.train()
    failed = summaries(tmp_path / "run")[0]["tasks"]["pocket"]
    assert failed["status"] == "failed"
    assert "NaN" in failed["error"]


@pytest.mark.parametrize("on_error", ["report", "stop"])
def test_a_validation_set_that_breaks_is_said_and_the_run_goes_on(
    tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, on_error: Any
) -> None:
    def broken(*args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("too long for this machine")

    monkeypatch.setattr("eval_hooks.evaluate.token_losses", broken)
    held = {"own": [LossItem(item_id="0", input_ids=(1, 2, 3), labels=(1, 2, 3))]}
    measure = CheckpointEval(held_out=held, out=tmp_path / "run", on_error=on_error)
    trainer = bare(tokenizer, tmp_path, measure, steps=1)
    if on_error == "stop":
        with pytest.raises(RuntimeError, match="too long"):
            trainer.train()
        return
    trainer.train()
    found = summaries(tmp_path / "run")[1]
    assert found["validation"] == {} and "too long for this machine" in found["validation_failed"]["own"]
    assert "val own failed: RuntimeError: too long" in line(found)
    assert '"val/own/failed": 1.0' in (tmp_path / "run" / "metrics.jsonl").read_text("utf-8")


def test_on_error_stop_lets_it_travel(tokenizer: Any, tmp_path: Path) -> None:
    callback = CheckpointEval(retain=[POCKET], out=tmp_path / "run", on_error="stop")
    trainer = bare(tokenizer, tmp_path, callback, steps=1)
    with torch.no_grad():
        trainer.model.lm_head.weight.fill_(float("nan"))
    with pytest.raises(EvalError, match="NaN"):
        trainer.train()


def test_a_head_of_zeros_gives_all_ties_and_the_share_of_gold_a(tokenizer: Any, tmp_path: Path) -> None:
    """In every letter variant the first option wins every tie, so accuracy is the share of golds A, exactly."""
    import pyarrow.compute as pc

    specs = [{**POCKET, "variant": v, "name": v, "limit": 114} for v in ("hendrycks", "lm_eval", "olmes_mcf")]
    callback = CheckpointEval(retain=specs, out=tmp_path / "run")
    trainer = bare(tokenizer, tmp_path, callback, steps=1, learning_rate=0.0)
    with torch.no_grad():
        trainer.model.lm_head.weight.zero_()
    trainer.train()
    for spec in specs:
        entry = summaries(tmp_path / "run")[0]["tasks"][spec["name"]]
        table = read_table(tmp_path / "run" / "evals" / "step-0" / f"{spec['name']}.parquet")
        assert entry["ties"] == entry["n"] == 114
        assert entry["accuracy"]["value"] == pc.mean(pc.equal(table.column("gold"), 0)).as_py()
        assert entry["calibration"]["brier"]["value"] == pytest.approx(0.75)  # 3/4^2 + 3 (1/4)^2


def test_a_head_of_zeros_prefers_the_cloze_option_with_the_fewest_tokens_a_character(
    tokenizer: Any, tmp_path: Path
) -> None:
    """Every token costs ln V, so the score of an option is its tokens by its characters, and nothing else."""
    callback = CheckpointEval(retain=[POCKET], out=tmp_path / "run")
    trainer = bare(tokenizer, tmp_path, callback, steps=1, learning_rate=0.0)
    with torch.no_grad():
        trainer.model.lm_head.weight.zero_()
    trainer.train()
    found = read_table(tmp_path / "run" / "evals" / "step-0" / "pocket.parquet").column("pred").to_pylist()
    for item, pred in zip(load_items(TaskSpec(**POCKET)).items, found, strict=True):
        cost = [len(tokenizer(f" {choice}")["input_ids"]) / len(choice) for choice in item.choices]
        assert pred == cost.index(min(cost)), item


def test_a_random_model_guesses_and_its_calibration_error_is_what_its_confidence_claims_too_much(
    tokenizer: Any, tmp_path: Path
) -> None:
    """Accuracy in the binomial band of 25 % (3.3 sd of 228 items: .095), ECE within it of |mean confidence - .25|."""
    callback = CheckpointEval(retain=[{"task": "pocket", "shots": 0, "limit": 228}], out=tmp_path / "run")
    bare(tokenizer, tmp_path, callback, steps=1, learning_rate=0.0).train()
    entry = summaries(tmp_path / "run")[0]["tasks"]["pocket"]
    table = read_table(tmp_path / "run" / "evals" / "step-0" / "pocket.parquet")
    confidence = sum(table.column("conf").to_pylist()) / 228
    assert entry["accuracy"]["value"] == pytest.approx(0.25, abs=0.095)
    assert entry["calibration"]["ece"]["value"] == pytest.approx(abs(confidence - 0.25), abs=0.095)
    assert entry["calibration"]["temperature"]["value"] is None


def test_what_cannot_be_asked_is_refused_at_once() -> None:
    with pytest.raises(EvalError, match="no such key: shot; there are: task, name"):
        CheckpointEval(retain=[{"task": "pocket", "shot": 0}])
    with pytest.raises(EvalError, match="two tasks are called"):
        CheckpointEval(tasks=["pocket"], retain=["pocket"])


@pytest.mark.parametrize(
    ("budget", "said"),
    [
        ({"accuracy_dorp": 0.02}, "no such key: accuracy_dorp; there are: accuracy_drop"),
        ({"action": "roll_forward"}, "'roll_forward': alone the callback can report, stop"),
        ({"accuracy_drop": 2}, "accuracy_drop 2: must be at least 0 and below 1"),
        ({"ece_rise": "0.02"}, "ece_rise '0.02': must be at least 0"),
        ({"confidence": 95, "patience": 0}, "confidence 95: must be between 0 and 1.*; budget.patience 0: must be 1"),
        ({"final_share": float("nan")}, "final_share nan"),
        ({"lr": {"factor": 2}}, "lr.factor 2: must be between 0 and 1"),
    ],
)
def test_a_budget_is_a_plain_mapping_and_a_wrong_one_is_refused(budget: dict[str, Any], said: str) -> None:
    given = {"accuracy_drop": 0.02, "action": "stop"}
    assert CheckpointEval(budget=given).budget == Budget(accuracy_drop=0.02, action="stop")
    with pytest.raises(EvalError, match=said):
        CheckpointEval(budget={**given, **budget})


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"order": "Waves"}, "order 'Waves': must be 'full' or 'waves'"),
        ({"every": "epochs"}, "every 'epochs': must be a whole number of steps, a fraction .* or epoch"),
        ({"every": 0}, "every 0: must be"),
        ({"every": True}, "every True: must be"),
        ({"on_error": "ignore"}, "on_error 'ignore': must be 'report' or 'stop'"),
        ({"over": "subject"}, "over 'subject': must be 'items' or 'subjects'"),
        ({"margin": float("nan"), "samples": -1}, "margin nan: must be at least 0 and below 1; samples -1"),
        ({"order": "waves", "cost_limit": 0}, "cost_limit 0: must be above 0"),
        ({"retain": "pocket"}, "retain 'pocket': a list of entries is due"),
        ({"retain": [{**POCKET, "variant": "olmes"}]}, "variant 'olmes': must be 'hendrycks'"),
        ({"retain": [TaskSpec(task="pocket", variant="olmes")]}, "variant 'olmes'"),  # type: ignore[arg-type]
        ({"retain": [{**POCKET, "shots": -1, "limit": 0}]}, "shots -1: must be 0 or more; .*limit 0: must be 1"),
        ({"retain": [{**POCKET, "batch_tokens": "512"}]}, "batch_tokens '512'"),
        ({"tasks": [{"variant": "olmes_cf"}]}, "it lacks `task`"),
        ({"budget": "stop"}, "budget 'stop': a mapping is due"),
    ],
)
def test_what_a_recipe_could_not_say_is_refused_in_a_script_too(options: dict[str, Any], said: str) -> None:
    with pytest.raises(EvalError, match=said):
        CheckpointEval(**options)


def test_paths_lists_and_numbers_are_taken_as_a_script_has_them() -> None:
    entry = {**POCKET, "subjects": ["anatomy"], "path": None}
    found = CheckpointEval(retain=[entry], every=0.5, budget={"accuracy_drop": 0, "lr": {"factor": 0.1}})
    assert found.entries[0][0].subjects == ("anatomy",) and found.budget.lr == Lr(factor=0.1)


def test_a_trainer_without_a_tokenizer_is_told_what_to_pass(tmp_path: Path) -> None:
    with pytest.raises(EvalError, match="pass processing_class="):
        bare(None, tmp_path, CheckpointEval(retain=[POCKET], out=tmp_path / "run")).train()


@pytest.mark.parametrize(("every", "period"), [(None, None), (30, 30), (0.5, 30), ("epoch", None), (0.001, 1)])
def test_when(every: Any, period: int | None) -> None:
    assert CheckpointEval(every=every).period(60) == period


def test_the_base_is_scored_twice_in_any_arithmetic_and_the_noise_stands_beside_the_flips(
    tokenizer: Any, tmp_path: Path
) -> None:
    """In fp32 next to nothing is close enough to flip; under bf16 autocast more is; both are said at later steps too."""
    from eval_hooks.report.words import flipped

    for name, more in (("full", {}), ("half", {"bf16": True})):
        callback = CheckpointEval(retain=[POCKET], out=tmp_path / name)
        bare(tokenizer, tmp_path, callback, steps=1, **more).train()
    for name in ("full", "half"):
        base, later = (summaries(tmp_path / name)[step]["tasks"]["pocket"] for step in (0, 1))
        noise, kept = base["noise"], later["retention"]
        assert noise["twice"] == 30 and 0 <= noise["flips"] <= noise["close"] <= 30
        assert kept["noise_flips"] == noise["flips"] and noise["flips"] <= kept["noise_most"] <= noise["close"]
        assert later["noise"] is None and "when the base is scored twice" in flipped(kept)
    full, half = (summaries(tmp_path / name)[0]["tasks"]["pocket"]["noise"] for name in ("full", "half"))
    assert full["flips"] == 0 and full["close"] <= half["close"]


def resumed(tokenizer: Any, folder: Path, **tasks: Any) -> Trainer:
    """A run of 4 steps, stopped after 2 with a checkpoint; the trainer that goes on with it, measuring `tasks`."""
    saving = {"save_strategy": "steps", "save_steps": 2}
    bare(tokenizer, folder, CheckpointEval(**tasks, out=folder / "run"), steps=2, **saving).train()
    return bare(tokenizer, folder, CheckpointEval(**tasks, out=folder / "run"), **saving)


def test_a_resumed_run_is_paired_with_the_baseline_on_disk(tokenizer: Any, tmp_path: Path) -> None:
    trainer = resumed(tokenizer, tmp_path, retain=[POCKET])
    table = tmp_path / "run" / "evals" / "step-0" / "pocket.parquet"
    before = table.stat().st_mtime_ns
    trainer.train(resume_from_checkpoint=True)
    assert table.stat().st_mtime_ns == before
    assert summaries(tmp_path / "run")[4]["tasks"]["pocket"]["retention"]["baseline_step"] == 0


@pytest.mark.parametrize("lost", ["evals/step-0/pocket.parquet", "evals/step-0/summary.json"])
def test_a_resumed_run_without_its_baseline_is_refused_before_a_step(tokenizer: Any, tmp_path: Path, lost: str) -> None:
    trainer = resumed(tokenizer, tmp_path, retain=[POCKET])
    (tmp_path / "run" / lost).unlink()
    with pytest.raises(EvalError, match=r"resumed at step 2 without its baseline: .*step-0 \(pocket\).*start anew"):
        trainer.train(resume_from_checkpoint=True)
    assert sorted(summaries(tmp_path / "run")) == ([0, 2] if "pocket" in lost else [2])


def test_a_task_that_is_new_in_a_resumed_run_has_no_baseline(tokenizer: Any, tmp_path: Path) -> None:
    trainer = resumed(tokenizer, tmp_path, retain=[POCKET])
    callback = CheckpointEval(retain=[POCKET, {**POCKET, "name": "more"}], out=tmp_path / "run")
    trainer.callback_handler.callbacks[-1] = callback
    with pytest.raises(EvalError, match=r"step-0 \(more\)"):
        trainer.train(resume_from_checkpoint=True)


def test_a_resumed_run_that_retains_nothing_needs_no_baseline(tokenizer: Any, tmp_path: Path) -> None:
    import shutil

    trainer = resumed(tokenizer, tmp_path, tasks=[POCKET])
    shutil.rmtree(tmp_path / "run" / "evals" / "step-0")
    trainer.train(resume_from_checkpoint=True)
    assert summaries(tmp_path / "run")[4]["tasks"]["pocket"]["retention"] is None


def test_a_task_that_failed_at_step_0_does_not_end_a_resumed_run(tokenizer: Any, tmp_path: Path) -> None:
    trainer = resumed(tokenizer, tmp_path, retain=[POCKET])
    file = tmp_path / "run" / "evals" / "step-0" / "summary.json"
    summary = json.loads(file.read_text())
    summary["tasks"]["pocket"]["status"] = "failed"
    file.write_text(json.dumps(summary))
    trainer.train(resume_from_checkpoint=True)
    assert summaries(tmp_path / "run")[4]["tasks"]["pocket"]["retention"] is None
