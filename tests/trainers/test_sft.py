"""The sft trainer: packing does not leak, accumulation changes nothing, weights are what the method says, 2 ranks = 1."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from eval_hooks.table import read_table
from tests.trainers.conftest import weights
from trainers.recipe import Recipe
from trainers.run import train

Load = Callable[..., Recipe]
ROOT = Path(__file__).parents[2]
BARE = ("eval.retain=[]", "train.save_strategy=no", "train.max_steps=1", "train.learning_rate=0.0")


def trained(recipe: Recipe, name: str) -> Path:
    assert train(recipe, run_dir=Path(name)) == 0
    return Path(name)


def logged(run: Path, key: str) -> list[float]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line[key] for line in lines if key in line]


def rows_loss(recipe: Recipe, take: int) -> tuple[float, int]:
    """Sum over rows of -log p of the labelled tokens, each row alone, by torch's cross entropy; and their number."""
    from trainers.data import build_mix
    from trainers.models import load_model, load_tokenizer

    tokenizer = load_tokenizer(recipe.model)
    mix = build_mix(recipe, tokenizer, show=False)
    model = load_model(recipe.model, tokenizer).eval()
    total, count = 0.0, 0
    for row in list(mix.train)[:take]:
        labels = torch.tensor(row["labels"][1:])
        with torch.no_grad():
            logits = model(torch.tensor([row["input_ids"]])).logits[0, :-1].float()
        total += torch.nn.functional.cross_entropy(logits, labels, ignore_index=-100, reduction="sum").item()
        count += int((labels != -100).sum())
    return total, count


def test_the_loss_is_the_mean_over_answer_tokens_of_the_whole_batch(recipe: Load) -> None:
    """All 16 rows in one step: the logged loss is the sum over rows divided by all labelled tokens."""
    whole = recipe(*BARE, "train.global_batch_size=16", "train.per_device_train_batch_size=16")
    total, count = rows_loss(whole, 16)
    assert logged(trained(whole, "a"), "train/loss")[0] == pytest.approx(total / count, rel=1e-5)


@pytest.mark.parametrize("strategy", ["bfd", "wrapped"])
def test_packed_rows_do_not_see_each_other(recipe: Load, strategy: str) -> None:
    """A packed batch has the loss of its rows one by one; `wrapped` cuts rows, so it may not, and is no proof of harm."""
    packed = recipe(*BARE, "train.packing=true", f"train.packing_strategy={strategy}", "train.max_length=200",
                    "train.global_batch_size=8")  # fmt: skip
    alone = recipe(*BARE, "train.max_length=200")
    total, count = rows_loss(alone, 16)
    loss = logged(trained(packed, strategy), "train/loss")[0]
    if strategy == "bfd":
        assert loss == pytest.approx(total / count, rel=1e-5)
    else:
        assert loss == pytest.approx(total / count, rel=0.2)


def test_one_batch_of_eight_equals_eight_of_one(recipe: Load) -> None:
    """Rows have 1 to 5 answer tokens, so a mean of means would differ."""
    ends = []
    for per_device in (8, 1):
        words = ("eval.retain=[]", "train.global_batch_size=8", f"train.per_device_train_batch_size={per_device}",
                 "train.optim=sgd", "train.learning_rate=0.5")  # fmt: skip
        ends.append(weights(trained(recipe(*words), f"b{per_device}") / "checkpoints" / "checkpoint-4"))
    for key in ends[0]:
        torch.testing.assert_close(ends[0][key], ends[1][key], rtol=0, atol=2e-6)


IM = "method={name: instruction_modelling, prompt_loss_weight: %s}"


def test_instruction_modelling_without_weight_on_instructions_is_instruction_tuning(recipe: Load) -> None:
    """Weight 0: the same loss and, after four steps, the same weights."""
    plain = trained(recipe("eval.retain=[]"), "nll")
    zero = trained(recipe("eval.retain=[]", IM % 0.0), "im")
    assert logged(zero, "train/loss") == pytest.approx(logged(plain, "train/loss"), rel=1e-4)
    a, b = (weights(run / "checkpoints" / "checkpoint-4") for run in (plain, zero))
    for key in a:
        torch.testing.assert_close(a[key], b[key], rtol=0, atol=1e-4)


@pytest.mark.parametrize("weight", [1.0, 0.25])
def test_instruction_modelling_is_a_weighted_mean(recipe: Load, weight: float) -> None:
    """(A + w I) / (n_A + w n_I), A and I the summed losses of answers and instructions, each logged as a mean."""
    whole = ("train.global_batch_size=16", "train.per_device_train_batch_size=16")
    run = trained(recipe(*BARE, *whole, IM % weight), "im")
    answers, n_answers = rows_loss(recipe(*BARE), 16)
    words, n_words = rows_loss(recipe(*BARE, IM % 1.0), 16)
    instructions, n_instructions = words - answers, n_words - n_answers
    assert n_instructions > n_answers > 0
    due = (answers + weight * instructions) / (n_answers + weight * n_instructions)
    assert logged(run, "train/loss")[0] == pytest.approx(due, rel=1e-5)
    assert logged(run, "train/loss_answer")[0] == pytest.approx(answers / n_answers, rel=1e-5)
    assert logged(run, "train/loss_instruction")[0] == pytest.approx(instructions / n_instructions, rel=1e-5)


def test_instruction_modelling_packed_is_instruction_modelling(recipe: Load) -> None:
    run = trained(
        recipe(*BARE, IM % 0.5, "train.packing=true", "train.max_length=200", "train.global_batch_size=8"), "p"
    )
    loose = trained(recipe(*BARE, IM % 0.5, "train.global_batch_size=16", "train.per_device_train_batch_size=16"), "l")
    assert logged(run, "train/loss")[0] == pytest.approx(logged(loose, "train/loss")[0], rel=1e-5)


def test_a_run_with_lora_moves_the_adapter_and_nothing_else(recipe: Load, tiny_folder: Path) -> None:
    run = trained(
        recipe("eval.retain=[]", "adapter.kind=lora", "adapter.r=4", "adapter.target_modules=all-linear"), "a"
    )
    adapter = weights(run / "checkpoints" / "checkpoint-4")
    assert all("lora_" in key for key in adapter)
    assert any(value.abs().sum() > 0 for key, value in adapter.items() if "lora_B" in key)


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("adapter.kind=lora", "adapter.r=4", "adapter.target_modules=all-linear"),
        ("adapter.kind=lora", "adapter.r=4", "adapter.target_modules=all-linear", "model.add_tokens=[from]"),
    ],
    ids=["full", "lora", "lora with a new token"],
)
def test_the_loss_in_the_trainer_is_that_of_the_saved_model(recipe: Load, words: tuple[str, ...]) -> None:
    """All rows in each step: the second step's loss is that of the model saved after the first, merged and reloaded."""
    whole = ("eval.retain=[]", "train.global_batch_size=16", "train.per_device_train_batch_size=16", "train.optim=sgd",
             "train.learning_rate=1.0", "train.max_grad_norm=1e9", *words)  # fmt: skip
    run = trained(recipe(*whole, "train.max_steps=2", "train.save_strategy=steps", "train.save_steps=1"), "two")
    first, second = logged(run, "train/loss")
    assert first - second > 0.02
    saved = recipe(f"model.path={run}:1", *(word for word in words if word.startswith("model.")))
    total, count = rows_loss(saved, 16)
    assert total / count == pytest.approx(second, rel=1e-4)


@pytest.mark.parametrize("zero", [pytest.param("zero2", marks=pytest.mark.soak), "zero3"])
def test_two_gloo_ranks_equal_one_rank(recipe_file: Path, zero: str) -> None:
    """The same global batch of 4 rows over 2 ranks: the same losses, weights after four steps and scores; one report."""
    words = ["eval.retain=[{task: pocket, variant: olmes_cf, shots: 0, limit: 8}]",
             "eval.target=[{task: sql, split: test, n: 2, max_new_tokens: 3}]",
             "train.optim=sgd", "train.learning_rate=0.5"]  # fmt: skip
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "DS_ACCELERATOR": "cpu"}
    two = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    for name, start, more in (("one", [], []), ("two", two, [f"deepspeed={zero}"])):
        command = [sys.executable, *start, "-m", "launch", "train", str(recipe_file), *words, *more, "--run-dir", name]
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=400)
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stdout.count("Knowledge kept?") == 1
    runs = Path("one"), Path("two")
    losses = [logged(run, "train/loss") for run in runs]
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)
    a, b = (weights(run / "checkpoints" / "checkpoint-4") for run in runs)
    assert torch.equal(b.pop("lm_head.weight", b["model.embed_tokens.weight"]), b["model.embed_tokens.weight"])
    assert a.keys() == b.keys()  # DeepSpeed writes the tied head out a second time
    for key in a:
        torch.testing.assert_close(a[key], b[key], rtol=1e-4, atol=1e-5)
    for task in ("pocket", "sql"):
        tables = [read_table(run / "evals" / "step-0" / f"{task}.parquet") for run in runs]
        assert tables[0].equals(tables[1]), task


def test_the_trainers_own_arguments_cannot_break_the_mask(recipe: Load) -> None:
    """Rows come tokenised and labelled: what is trained is data_mix's, whatever SFTTrainer's defaults become."""
    run = trained(recipe(*BARE), "a")
    resolved: dict[str, Any] = json.loads((run / "recipe.resolved.json").read_text())["arguments"]
    assert resolved["dataset_kwargs"] == {"skip_prepare_dataset": True}
    assert resolved["report_to"] == [] or resolved["report_to"] == "none"
