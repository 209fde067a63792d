"""From `train:` to the stage's TRL arguments, where several may say a value.

The first of these wins:

1. the suite (`ours`), and what makes a method's row the method (`Method.trl`): a recipe that sets these is refused;
2. the recipe, whose own order is `launch/compose.py`'s: key=value words, the file, what it extends;
3. the method's row (`Method.defaults`), the paper's values;
4. the machine and the rest of the recipe (`of_the_run`): device, precision, checkpoints where `eval.every` measures;
5. the stage's config class.

A DeepSpeed file wins over none: where it says another value than these, the recipe is refused (`launch/deepspeed.py`).
"""

import os
from collections.abc import Mapping
from dataclasses import fields
from datetime import timedelta
from shlex import quote
from typing import Any

from trainers import TrainError, announce
from trainers.catalog import METHODS, STAGES
from trainers.machine import Chosen, choose_here
from trainers.recipe import Recipe
from trainers.sequence import filled, groups, ranks_of_a_row
from trainers.world import free_port, world_size

LENGTH = {"max_steps", "num_train_epochs"}
"""Arguments that say how long a run is."""
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
    """One of the stage's arguments that no machine decides, as the recipe, the method's row or the config class has it.

    None: no such name.
    """
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
    method = METHODS[recipe.method.name]
    said = {**method.defaults, **recipe.train}
    on_gpu = _on_gpu(said)
    values = {**of_the_run(recipe, on_gpu, chosen or choose_here(recipe)), **said, **method.trl, **ours(recipe)}
    if "gradient_checkpointing" in said:
        values.pop("activation_checkpointing")
    if values.get("packing"):
        values["packing_strategy"] = "bfd"  # rows come packed; TRL then lays them out without padding, with positions
    if recipe.data.until_tokens is not None and (clash := LENGTH & recipe.train.keys()):
        raise TrainError(
            f"train.{', train.'.join(sorted(clash))}: data.until_tokens says how long the run is; remove one of the two"
        )
    check_sampling(recipe)
    if values.get("fp16") and not on_gpu:
        raise TrainError("train.fp16: on a CPU all would be in 32 bits; write train.bf16: true, or remove it")
    if values.get("fsdp"):
        raise TrainError("train.fsdp: not supported, since measuring under it is untested; write deepspeed: zero3")
    values |= filled(recipe, world_size(), setting(recipe, "max_length"), on_gpu)
    if recipe.deepspeed:
        values["deepspeed"] = str(recipe.deepspeed)
    values |= batch_on(recipe, world_size())
    try:
        return arguments_class(recipe)(**values)
    except (ValueError, TypeError) as error:
        raise TrainError(f"train: {str(error).strip().splitlines()[0]}") from error


def of_the_run(recipe: Recipe, on_gpu: bool, chosen: Chosen) -> dict[str, Any]:
    """What follows from the machine and the rest of the recipe, where neither the recipe nor its method says it."""
    return {
        "use_cpu": not on_gpu,
        **{name: chosen[name].value for name in ("bf16", "activation_checkpointing")},
        **saving(recipe),
        "ddp_timeout": DDP_TIMEOUT_S,
        "logging_steps": 1,
        "dataloader_pin_memory": on_gpu,
    }


def ours(recipe: Recipe) -> dict[str, Any]:
    """What the suite sets whoever says otherwise: folders, trackers, measuring, deleting (`keeping`), rows."""
    until = {"num_train_epochs": 1} if recipe.data.until_tokens is not None else {}
    fixed = {"output_dir": "checkpoints", "report_to": "none", "save_total_limit": None, "eval_strategy": "no"}
    return {**fixed, **STAGES[recipe.stage].fixed, **until}


def _on_gpu(said: Mapping[str, Any]) -> bool:
    import torch

    return torch.cuda.is_available() and not said.get("use_cpu", False)


def check_sampling(recipe: Recipe) -> None:
    """Raise TrainError for an order of rows that there is not or the stage cannot give: libraries pass over it."""
    known, asked = STAGES[recipe.stage].samplings, setting(recipe, "train_sampling_strategy")
    if asked is not None and asked not in known:
        there_is = "; ".join(f"{name} ({order})" for name, order in known.items())
        raise TrainError(f"train.train_sampling_strategy {asked!r}: stage {recipe.stage} has {there_is}")


def batch_on(recipe: Recipe, ranks: int) -> dict[str, int]:
    """Micro-batch and accumulation steps of a recipe on so many ranks."""
    per_device = recipe.train.get("per_device_train_batch_size")
    if recipe.global_batch_size is None:
        names = {"per_device_train_batch_size": MICRO_BATCH, "gradient_accumulation_steps": 1}
        given = {**METHODS[recipe.method.name].defaults, **recipe.train}
        return {name: given.get(name, default) for name, default in names.items()}
    return accumulation(recipe.global_batch_size, per_device, groups(recipe, ranks), ranks_of_a_row(recipe))


def accumulation(
    global_batch_size: int, per_device: int | None = None, ranks: int | None = None, shared: int = 1
) -> dict[str, int]:
    """Micro-batch and accumulation steps that make a global batch: per device x accumulation x ranks.

    `ranks` are those that take rows of their own, each of them `shared` processes. Where nobody chose a micro-batch it
    is the largest up to 8 that divides. A global batch smaller than one micro-batch a rank shrinks it. Raises
    TrainError naming the nearest sizes that divide.
    """
    ranks = ranks or world_size()
    if global_batch_size % ranks:
        of = f"{ranks * shared} ranks, of which {shared} share a row" if shared > 1 else f"{ranks} ranks"
        raise TrainError(
            f"train.global_batch_size {global_batch_size}: does not divide over {of}; "
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
        f"gpu       one of {n} is used; all: torchrun --nproc_per_node {n} --no-python temper train "
        f"{quote(str(recipe.file))}"
    )


def starts_ranks(recipe: Recipe) -> None:
    """Bring up communication before any weights are loaded, whatever launcher, or none, has started this.

    DeepSpeed's, since ZeRO-3 needs it then; gloo's on CPUs, which transformers brings up without `ddp_timeout`; on GPUs
    as transformers does, which would do so only after ranks have to agree on what suits all of them.
    """
    import torch

    on_gpu = _on_gpu(recipe.train)
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
