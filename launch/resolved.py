"""The complete recipe as plain data, in the recipe's own form: loading it again gives the same recipe."""

import dataclasses
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any

from data_mix.config import SourceSpec
from eval_hooks.config import TaskSpec
from launch.entries import GENERATIVE_KEYS, UNWEIGHED, own_keys

HEAD = ("name", "file", "overrides")
"""What `resolve` adds to the sections: where the recipe came from."""


def resolve(made: Mapping[str, Any]) -> dict[str, Any]:
    """Sections (Recipe's fields) -> JSON-able dict with every default.

    `train` holds what was written: what the run itself fills (bf16, save_steps, ...) is not known before it.
    """
    adapter, method, evaluation = made["adapter"], made["method"], plain(made["eval"])
    own = {name: made[name] for name in ("global_batch_size", "skip_bad_batches") if made[name]}
    return {
        **{key: plain(made[key]) for key in HEAD},
        "stage": made["stage"],
        "model": plain(made["model"]),
        "adapter": {"kind": adapter.kind, **plain(adapter.options)},
        "method": {"name": method.name, **plain(method.config)},
        "data": plain(made["data"]),
        "train": {**plain(made["train"]), **own},
        "deepspeed": plain(made["deepspeed"]),
        "eval": evaluation,
        "track": {"wandb": plain(made["wandb"]), "tensorboard": made["tensorboard"]},
        "launch": plain(made["launch"]),
    }


def plain(value: Any) -> Any:
    """Dataclasses to dicts, tuples to lists, paths to text; entries of a mix or an evaluation as a recipe has them."""
    if isinstance(value, SourceSpec):
        return _source(value)
    if isinstance(value, TaskSpec):
        return _task(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value) if field.init}
    if isinstance(value, Mapping):
        return {str(key): plain(child) for key, child in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(child) for child in value]
    if isinstance(value, Enum):
        return value.value
    return str(value) if isinstance(value, Path) else value


def _source(spec: SourceSpec) -> dict[str, Any]:
    if spec.split_from:
        return {"from": spec.split_from, "fraction": spec.fraction, "name": spec.name}
    keys = {field.name: plain(getattr(spec, field.name)) for field in dataclasses.fields(spec)}
    own = {key: value for key, value in keys.items() if key not in ("config", "split_from", "fraction")}
    return {**own, **plain(spec.config)}


def _task(spec: TaskSpec) -> dict[str, Any]:
    keys = {field.name: plain(getattr(spec, field.name)) for field in dataclasses.fields(spec)}
    if spec.rows:
        rows = {key: value for key, value in _source(spec.rows).items() if key not in UNWEIGHED}
        return {**{key: keys[key] for key in GENERATIVE_KEYS}, **rows}
    return {key: value for key, value in keys.items() if key in own_keys(spec.named)}
