"""CheckpointEval in somebody else's trainer: a bare transformers.Trainer and trl.SFTTrainer, without a recipe."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from transformers import Trainer, TrainingArguments

from eval_hooks import CheckpointEval
from eval_hooks.config import Budget
from eval_hooks.errors import EvalError
from eval_hooks.items import LossItem
from eval_hooks.table import read_table
from tests.conftest import tiny_llama

POCKET = {"task": "pocket", "variant": "olmes_cf", "shots": 0, "limit": 30}
QUIET = {
    "report_to": "none",
    "use_cpu": True,
    "save_strategy": "no",
    "disable_tqdm": True,
    "per_device_train_batch_size": 2,
}


def summaries(folder: Path) -> dict[int, dict[str, Any]]:
    read = [json.loads(file.read_text()) for file in folder.glob("evals/step-*/summary.json")]
    return {summary["step"]: summary for summary in read}


def bare(tokenizer: Any, tmp_path: Path, callback: CheckpointEval, steps: int = 4, **more: Any) -> Trainer:
    ids = torch.randint(0, 49152, (8, 12), generator=torch.Generator().manual_seed(0)).tolist()
    arguments = TrainingArguments(output_dir=str(tmp_path / "out"), max_steps=steps, **{**QUIET, **more})
    rows = Dataset.from_dict({"input_ids": ids, "labels": ids})
    return Trainer(tiny_llama(), arguments, train_dataset=rows, processing_class=tokenizer, callbacks=[callback])


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
        tiny_llama(), args=arguments, train_dataset=rows, processing_class=tokenizer, callbacks=[callback]
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


def test_a_budget_stops_the_run_where_a_loss_is_proven(tokenizer: Any, tmp_path: Path) -> None:
    """A base that always answers A loses all when trained to the opposite; here: the items it had right are taken away.

    The base's table is rewritten so that every item was right before: the loss at step 1 is then beyond doubt.
    """
    callback = CheckpointEval(
        retain=[POCKET], every=1, out=tmp_path / "run", budget=Budget(accuracy_drop=0.05, action="stop")
    )
    trainer = bare(tokenizer, tmp_path, callback, steps=5)

    def all_right(summary: dict[str, Any]) -> None:
        if summary["step"] == 0:
            import pyarrow as pa

            from eval_hooks.table import write_table

            path = tmp_path / "run" / "evals" / "step-0" / "pocket.parquet"
            table = read_table(path)
            place = table.column_names.index("correct")
            write_table(table.set_column(place, "correct", pa.array([True] * table.num_rows)), path)

    callback.on_summary = all_right
    trainer.train()
    assert callback.stopped and "pocket: accuracy fell by more than 0.05" in callback.stopped
    assert trainer.state.global_step == 1


def test_a_task_that_breaks_is_a_failed_row_and_the_run_goes_on(tokenizer: Any, tmp_path: Path) -> None:
    callback = CheckpointEval(retain=[POCKET], out=tmp_path / "run")
    trainer = bare(tokenizer, tmp_path, callback, steps=1)
    with torch.no_grad():
        trainer.model.lm_head.weight.fill_(float("nan"))
    trainer.train()
    failed = summaries(tmp_path / "run")[0]["tasks"]["pocket"]
    assert failed["status"] == "failed"
    assert "NaN" in failed["error"]


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


def test_what_cannot_be_asked_is_refused_at_once() -> None:
    with pytest.raises(EvalError, match="keys are those of"):
        CheckpointEval(retain=[{"task": "pocket", "shot": 0}])
    with pytest.raises(EvalError, match="two tasks are called"):
        CheckpointEval(retain=["pocket", "pocket"])


@pytest.mark.parametrize(("every", "period"), [(None, None), (30, 30), (0.5, 30), ("epoch", None), (0.001, 1)])
def test_when(every: Any, period: int | None) -> None:
    assert CheckpointEval(every=every).period(60) == period
