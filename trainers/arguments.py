"""From `train:` to the stage's TRL arguments: what a person left open is filled, what is ours is set."""

import os
from dataclasses import fields
from datetime import timedelta
from shlex import quote
from typing import Any

from trainers import TrainError, announce
from trainers.catalog import METHODS, STAGES
from trainers.machine import Chosen, choose_here
from trainers.recipe import Recipe
from trainers.sequence import filled, ranks_of_a_row
from trainers.world import free_port, world_size

MICRO_BATCH = 8
"""Rows a rank runs at once where nobody says otherwise."""
DDP_TIMEOUT_S = 7200
"""How long ranks wait for each other.

Torch's half an hour is less than what one may do while the others wait: write a checkpoint of 600 GB at 100 MB/s (1.7
h), or score its share of full MMLU at half the others' speed (1.1 h for two ranks on two CPU cores, at the measured
0.57 s a question). A rank that dies is not waited for: its connection closes, and the launcher ends the others; only
one that hangs costs this long.
"""


def setting(recipe: Recipe, name: str) -> Any:
    """One of the stage's arguments, as the recipe, the method or its config class has it; None: no such name."""
    default = next((field.default for field in fields(arguments_class(recipe)) if field.name == name), None)
    return recipe.train.get(name, METHODS[recipe.method.name].defaults.get(name, default))


def arguments_class(recipe: Recipe) -> type:
    """The config class that `train:` is checked against: the method's own, else the stage's."""
    return (METHODS[recipe.method.name].arguments or STAGES[recipe.stage].arguments)()


def training_arguments(recipe: Recipe, chosen: Chosen | None = None) -> Any:
    """The stage's config, ready for its trainer; the run folder is put in when it is taken.

    `chosen` is what was left to the machine; None: to be chosen now.

    Raises TrainError where a value cannot be, or the global batch does not divide.
    """
    import torch

    values, chosen = dict[str, Any](recipe.train), chosen or choose_here(recipe)
    on_gpu = torch.cuda.is_available() and not values.get("use_cpu", False)
    defaults = {
        "use_cpu": not on_gpu,
        **{name: chosen[name].value for name in ("bf16", "activation_checkpointing")},
        **saving(recipe),
        "ddp_timeout": DDP_TIMEOUT_S,
        "logging_steps": 1,
        "per_device_train_batch_size": MICRO_BATCH,
        "dataloader_pin_memory": on_gpu,
    }
    if "gradient_checkpointing" in values:
        defaults.pop("activation_checkpointing")
    for key, value in {**METHODS[recipe.method.name].defaults, **defaults}.items():
        values.setdefault(key, value)
    values |= METHODS[recipe.method.name].trl
    values |= {"output_dir": "checkpoints", "report_to": "none", "save_total_limit": None}  # `keeping` deletes
    values |= {"eval_strategy": "no", **STAGES[recipe.stage].fixed}
    if values.get("packing"):
        values["packing_strategy"] = "bfd"  # rows come packed; TRL then lays them out without padding, with positions
    if recipe.data.until_tokens is not None:
        if clash := {"max_steps", "num_train_epochs"} & recipe.train.keys():
            raise TrainError(f"train.{clash.pop()}: data.until_tokens says how long the run is; remove one of the two")
        values["num_train_epochs"] = 1
    if values.get("fsdp"):
        raise TrainError("train.fsdp: not supported, since measuring under it is untested; write deepspeed: zero3")
    values |= filled(recipe, world_size(), setting(recipe, "max_length"), on_gpu)
    if recipe.deepspeed:
        values["deepspeed"] = str(recipe.deepspeed)
    if recipe.global_batch_size is not None:
        per_device = recipe.train.get("per_device_train_batch_size")
        values |= accumulation(recipe.global_batch_size, per_device, world_size() // ranks_of_a_row(recipe))
    try:
        return arguments_class(recipe)(**values)
    except (ValueError, TypeError) as error:
        raise TrainError(f"train: {str(error).strip().splitlines()[0]}") from error


def accumulation(global_batch_size: int, per_device: int | None = None, ranks: int | None = None) -> dict[str, int]:
    """Micro-batch and accumulation steps that make a global batch: per device x accumulation x ranks.

    Where nobody chose a micro-batch it is the largest up to 8 that divides. A global batch smaller than one micro-batch
    a rank shrinks it. Raises TrainError naming the nearest sizes that divide.
    """
    ranks = ranks or world_size()
    if global_batch_size % ranks:
        raise TrainError(
            f"train.global_batch_size {global_batch_size}: does not divide over {ranks} ranks; "
            f"nearest: {_nearest(global_batch_size, ranks)}"
        )
    share = global_batch_size // ranks
    sizes = [size for size in range(1, share + 1) if share % size == 0]
    micro = min(per_device, share) if per_device else max(size for size in sizes if size <= MICRO_BATCH)
    if share % micro:
        nearest = min(sizes, key=lambda size: abs(size - micro))
        raise TrainError(
            f"train.global_batch_size {global_batch_size}: {share} rows a rank do not divide into micro-batches of "
            f"{micro}; "
            f"per_device_train_batch_size {nearest} does, or a global batch of "
            f"{_nearest(global_batch_size, micro * ranks)}"
        )
    return {"per_device_train_batch_size": micro, "gradient_accumulation_steps": share // micro}


def _nearest(size: int, part: int) -> str:
    """The sizes next to one that `part` does not divide, which it does."""
    below = size - size % part
    return f"{below} or {below + part}" if below else str(part)


def saving(recipe: Recipe) -> dict[str, Any]:
    """Checkpoints where the model is measured: after steps or epochs as `eval.every` says; the end is always kept."""
    every = recipe.eval.every
    if every is None:
        return {}
    return {"save_strategy": "epoch"} if every == "epoch" else {"save_strategy": "steps", "save_steps": every}


def take_one_gpu(recipe: Recipe) -> None:
    """A process that no launcher started takes one GPU of several, and says how all are used.

    transformers would put the model on all of them by torch's DataParallel, which some trainers refuse.
    """
    import torch

    if "WORLD_SIZE" in os.environ or recipe.train.get("use_cpu", False) or (n := torch.cuda.device_count()) < 2:
        return
    visible = os.environ.get("CUDA_VISIBLE_DEVICES") or "0"
    os.environ["CUDA_VISIBLE_DEVICES"] = visible.split(",")[0]
    announce(
        f"gpu       one of {n} is used; all: torchrun --nproc_per_node {n} -m launch train {quote(str(recipe.file))}"
    )


def starts_ranks(recipe: Recipe) -> None:
    """Bring up communication before any weights are loaded, whatever launcher, or none, has started this.

    DeepSpeed's, since ZeRO-3 needs it then; gloo's on CPUs, which transformers brings up without `ddp_timeout`; on GPUs
    as transformers does, which would do so only after ranks have to agree on what suits all of them.
    """
    import torch

    on_gpu = torch.cuda.is_available() and not recipe.train.get("use_cpu", False)
    backend = "nccl" if on_gpu else "gloo"
    timeout = timedelta(seconds=recipe.train.get("ddp_timeout") or DDP_TIMEOUT_S)
    if recipe.deepspeed is None:
        if world_size() > 1 and not torch.distributed.is_initialized():
            _without_deepspeed(recipe, on_gpu, timeout)
        return
    alone = {
        "RANK": "0",
        "LOCAL_RANK": "0",
        "WORLD_SIZE": "1",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_port()),
    }
    for key, value in alone.items():
        os.environ.setdefault(key, value)
    import deepspeed

    deepspeed.init_distributed(dist_backend=backend, timeout=timeout)


def _without_deepspeed(recipe: Recipe, on_gpu: bool, timeout: timedelta) -> None:
    import torch

    if not on_gpu:
        torch.distributed.init_process_group("gloo", timeout=timeout)
        return
    from accelerate import PartialState

    PartialState(backend=recipe.train.get("ddp_backend"), timeout=timeout)
