"""DeepSpeed's files: the shipped ones are filled by transformers, and what a file and its recipe say must be the same."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from launch.deepspeed import said
from launch.load import load
from launch.problems import RecipeError
from launch.recipes import deepspeed_configs
from tests.launch.conftest import WHOLE
from trainers.arguments import training_arguments

Write = Callable[..., str]
OFFLOADED = {"zero2-offload": ["offload_optimizer"], "zero3-offload": ["offload_optimizer", "offload_param"]}
SQL = WHOLE.replace("numbers, n: 10", "sql, n: 10").replace("{name: margin, gamma: 0.5}", "{name: nll}").replace(
    "{task: sums, n: 5}", "{task: sql, n: 5}").replace("{task: quiz, shots: 0}", "{task: pocket, shots: 0}")  # fmt: skip


def file(tmp_path: Path, **content: Any) -> str:
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({"zero_optimization": {"stage": 2}, **content}))
    return f"deepspeed={path}"


def problems(name: str, *words: str) -> list[str]:
    with pytest.raises(RecipeError) as caught:
        load(name, words)
    return [problem.text for problem in caught.value.problems]


def test_there_are_five_and_each_says_its_stage() -> None:
    configs = {name: json.loads(path.read_text()) for name, path in deepspeed_configs().items()}
    assert sorted(configs) == ["zero1", "zero2", "zero2-offload", "zero3", "zero3-offload"]
    for name, config in configs.items():
        zero = config["zero_optimization"]
        assert zero["stage"] == int(name[4])
        assert [key for key in zero if key.startswith("offload")] == OFFLOADED.get(name, [])


@pytest.mark.parametrize("name", ["zero1", "zero2", "zero3", "zero2-offload", "zero3-offload"])
def test_transformers_fills_every_auto(recipe: Write, name: str) -> None:
    """Rows of a micro-batch, accumulation, their product, clipping and both types, from the recipe."""
    words = [f"deepspeed={name}", "train.global_batch_size=6", "train.per_device_train_batch_size=3",
             "train.max_grad_norm=0.7", "train.bf16=true", "train.use_cpu=true"]  # fmt: skip
    arguments = training_arguments(load(recipe(SQL), words))
    ready = arguments.hf_deepspeed_config
    assert ready.config["train_micro_batch_size_per_gpu"] == 3
    assert (ready.config["gradient_accumulation_steps"], ready.config["train_batch_size"]) == (2, 6)
    assert ready.config["gradient_clipping"] == 0.7
    assert ready.config["bf16"]["enabled"] is True and ready.config["fp16"]["enabled"] is False
    assert "auto" not in json.dumps(ready.config) and not ready.mismatches


def test_every_contradiction_is_named_at_once_with_both_values(recipe: Write, tmp_path: Path) -> None:
    optimizer = {"type": "AdamW", "params": {"lr": 1e-3, "betas": [0.9, 0.95], "eps": "auto", "weight_decay": 0.1}}
    scheduler = {"type": "WarmupLR", "params": {"warmup_num_steps": 10, "warmup_max_lr": "auto"}}
    given = file(tmp_path, train_batch_size=64, train_micro_batch_size_per_gpu=2, gradient_accumulation_steps=3,
                 gradient_clipping=0.5, bf16={"enabled": True}, optimizer=optimizer, scheduler=scheduler)  # fmt: skip
    found = problems(
        recipe(SQL), given, "train.global_batch_size=8", "train.learning_rate=1e-4", "train.bf16=false",
        "train.per_device_train_batch_size=4",
    )  # fmt: skip
    text = "\n".join(found)
    assert len(found) == 9
    for key, value, name, mine in (
        ("train_batch_size", "64", "global_batch_size", "is 8"),
        ("train_micro_batch_size_per_gpu", "2", "per_device_train_batch_size", "is 4"),
        ("gradient_clipping", "0.5", "max_grad_norm", "is 1.0 (the default of SFTConfig)"),
        ("bf16.enabled", "true", "bf16", "is False"),
        ("optimizer.params.lr", "0.001", "learning_rate", "is 0.0001"),
        ("optimizer.params.betas", "[0.9, 0.95]", "adam_beta1, train.adam_beta2", "is [0.9, 0.999]"),
        ("optimizer.params.weight_decay", "0.1", "weight_decay", "is 0.0"),
        ("scheduler.params.warmup_num_steps", "10", "warmup_steps", "is 0"),
    ):
        assert f"mine.json: {key} is {value}, train.{name} {mine}" in text
    assert "gradient_accumulation_steps is 3, the recipe has no train.gradient_accumulation_steps" in text


def test_the_same_values_and_what_the_recipe_has_not_are_no_contradiction(recipe: Write, tmp_path: Path) -> None:
    given = file(
        tmp_path, train_batch_size=8, gradient_clipping=1.0, bf16={"enabled": False}, wall_clock_breakdown=True
    )
    assert load(recipe(SQL), [given, "train.global_batch_size=8", "train.bf16=false"]).deepspeed is not None


def test_a_type_that_the_machine_would_choose_must_be_written(recipe: Write, tmp_path: Path) -> None:
    found = problems(recipe(SQL), file(tmp_path, bf16={"enabled": True}))
    assert found == ['mine.json: bf16.enabled is true, the recipe leaves train.bf16 to the machine; write "auto" there, '
                     "or the same in the recipe"]  # fmt: skip


@pytest.mark.parametrize(("text", "message"), [("{", "not JSON"), ("[1]", "a map is due")])
def test_what_is_no_configuration_is_said(recipe: Write, tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "mine.json").write_text(text)
    assert message in problems(recipe(SQL), f"deepspeed={tmp_path / 'mine.json'}")[0]


def test_a_dotted_key_is_read() -> None:
    config = {"bf16": {"enabled": "auto"}, "fp16": {"enabled": True}, "gradient_clipping": 1}
    assert [said(config, key) for key in ("bf16.enabled", "fp16.enabled", "gradient_clipping", "optimizer.params.lr")] \
        == [None, True, 1, None]  # fmt: skip
