"""From `train:` to the stage's arguments: batches that divide, what is filled, what is ours."""

import os
from collections.abc import Callable

import pytest

from launch import RecipeError
from trainers import TrainError
from trainers.arguments import accumulation, saving, training_arguments
from trainers.machine import Machine
from trainers.recipe import Recipe

Load = Callable[..., Recipe]


@pytest.mark.parametrize(
    ("batch", "per_device", "ranks", "due"),
    [(64, 8, 2, (8, 4)), (8, 8, 1, (8, 1)), (4, 8, 1, (4, 1)), (6, 2, 3, (2, 1)), (16, 8, 4, (4, 1))],
)
def test_a_global_batch_is_micro_batch_times_accumulation_times_ranks(
    batch: int, per_device: int, ranks: int, due: tuple[int, int]
) -> None:
    found = accumulation(batch, per_device, ranks)
    assert (found["per_device_train_batch_size"], found["gradient_accumulation_steps"]) == due
    assert due[0] * due[1] * ranks == batch


@pytest.mark.parametrize(
    ("batch", "per_device", "ranks", "message"),
    [
        (10, 8, 4, "nearest: 8 or 12"),
        (3, 8, 4, "nearest: 4$"),
        (30, 8, 1, "per_device_train_batch_size 6 does, or a global batch of 24 or 32"),
    ],
)
def test_a_batch_that_does_not_divide_names_the_nearest_that_does(
    batch: int, per_device: int, ranks: int, message: str
) -> None:
    with pytest.raises(TrainError, match=message):
        accumulation(batch, per_device, ranks)


def test_what_the_recipe_says_wins_over_what_is_filled(recipe: Load) -> None:
    plain, said = training_arguments(recipe()), training_arguments(recipe("train.logging_steps=5"))
    assert (plain.logging_steps, said.logging_steps) == (1, 5)
    assert plain.report_to == [] and plain.eval_strategy == "no"


@pytest.mark.parametrize(
    ("every", "due"),
    [
        ("null", {}),
        ("20", {"save_strategy": "steps", "save_steps": 20}),
        ("0.5", {"save_strategy": "steps", "save_steps": 0.5}),
        ("epoch", {"save_strategy": "epoch"}),
    ],
)
def test_checkpoints_are_saved_where_the_model_is_measured(recipe: Load, every: str, due: dict[str, object]) -> None:
    assert saving(recipe(f"eval.every={every}")) == due


def test_ranks_wait_for_each_other_long_enough_and_deepspeeds_do_too(
    recipe: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two hours, or what the recipe says: the process group of DeepSpeed is made before the Trainer could tell it."""
    from datetime import timedelta

    from trainers.arguments import starts_ranks

    told: list[timedelta] = []
    monkeypatch.setattr("deepspeed.init_distributed", lambda dist_backend, timeout: told.append(timeout))
    for name in ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.setenv(name, "0")
    monkeypatch.setenv("WORLD_SIZE", "1")
    for words, seconds in (((), 7200), (("train.ddp_timeout=60",), 60)):
        assert training_arguments(recipe(*words)).ddp_timeout == seconds
        starts_ranks(recipe("deepspeed=zero2", *words))
        assert told.pop() == timedelta(seconds=seconds)


def test_what_the_config_class_refuses_is_a_request_error(recipe: Load) -> None:
    with pytest.raises(TrainError, match="^train: "):
        training_arguments(recipe("train.dataloader_prefetch_factor=2"))


@pytest.mark.parametrize(
    ("words", "supported", "due"),
    [
        ((), True, (True, False)),
        (("train.fp16=true",), True, (False, True)),
        (("train.fp16=true",), False, (False, True)),
        (("train.fp16=false",), True, (True, False)),
        (("train.fp16=true", "train.bf16=false"), True, (False, True)),
        ((), False, (False, False)),
    ],
)
def test_fp16_that_is_asked_for_wins_over_bf16_that_is_not(
    recipe: Load,
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    supported: bool,
    due: tuple[bool, bool],
) -> None:
    """(bf16, fp16) on a GPU; its config is made without asking for the device."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    card = Machine(gpu="a card", bf16=supported, memory=2**30)
    monkeypatch.setattr("trainers.machine.own_machine", lambda use_cpu=False: card)
    monkeypatch.setattr("trl.SFTConfig.__post_init__", lambda self: None)
    found = training_arguments(recipe("train.use_cpu=false", *words))
    assert (found.bf16, found.fp16) == due


def test_fp16_is_refused_where_it_would_change_nothing_and_beside_bf16(recipe: Load) -> None:
    with pytest.raises(TrainError, match="train.fp16: on a CPU all would be in 32 bits; write train.bf16: true"):
        training_arguments(recipe("train.fp16=true"))
    with pytest.raises(RecipeError, match="train.fp16: true, and train.bf16 too: a run computes in one of them"):
        recipe("train.bf16=true", "train.fp16=true")


def test_an_unlaunched_process_takes_one_of_several_gpus_and_says_how_all_are_used(
    recipe: Load, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    from trainers.arguments import take_one_gpu

    monkeypatch.setattr("torch.cuda.device_count", lambda: 4)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3,5,7")
    take_one_gpu(recipe("train.use_cpu=false"))
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "2"
    assert "one of 4 is used; all: torchrun --nproc_per_node 4 --no-python temper train" in capsys.readouterr().err
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3")
    for name in ("launched", "cpu"):
        if name == "launched":
            monkeypatch.setenv("WORLD_SIZE", "2")
        take_one_gpu(recipe(f"train.use_cpu={'true' if name == 'cpu' else 'false'}"))
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "2,3"
        monkeypatch.delenv("WORLD_SIZE", raising=False)


def test_a_micro_batch_that_nobody_chose_is_the_largest_that_divides() -> None:
    assert accumulation(20) == {"per_device_train_batch_size": 5, "gradient_accumulation_steps": 4}
    assert accumulation(7) == {"per_device_train_batch_size": 7, "gradient_accumulation_steps": 1}
    assert accumulation(22, ranks=2) == {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 11}
