"""What a recipe that goes on with a run may say otherwise than the run did, and what it may not."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from shlex import quote
from typing import Any

from eval_hooks.files import read_json
from eval_hooks.json_text import json_text
from eval_hooks.masking import masked
from eval_hooks.variance.recipes import leaves
from trainers import TrainError, announce, inputs
from trainers.inputs import Inputs, read_inputs
from trainers.recipe import Recipe

SECTIONS = ("stage", "model", "adapter", "method", "data", "train", "deepspeed", "eval", "track", "launch")
MAY = (
    "eval.*", "track.*", "launch.*", "train.max_steps", "train.num_train_epochs", "train.logging_*", "train.log_*",
    "train.save_*", "train.dataloader_*", "train.disable_tqdm", "train.ddp_timeout", "train.metric_for_best_model",
    "train.greater_is_better", "train.activation_checkpointing*", "train.gradient_checkpointing*",
    "train.per_device_train_batch_size", "train.skip_bad_batches",
)  # fmt: skip
"""Keys that change how long the run is, how it is watched, or how the same step is computed."""


@dataclass(frozen=True, kw_only=True)
class Changed:
    """How a run that is gone on with is not what it was, a line each."""

    lines: Sequence[str] = ()
    """All of it."""
    unchecked: Sequence[str] = ()
    """What would have been refused without --unchecked."""


def check_changes(
    folder: Path,
    recipe: Recipe,
    now: Inputs | None = None,
    *,
    unchecked: bool = False,
    may: Callable[[str, Recipe], bool] | None = None,
) -> Changed:
    """Say how recipe, versions and what is read (`now`) differ from what the run in `folder` was.

    Raises TrainError naming every key that may not differ, and every file that has other content: the run would be
    another one from its first step on. With `unchecked` it goes on with the files.
    """
    file = folder / "recipe.resolved.json"
    of_recipe = list(differences(read_json(file), recipe.resolved)) if file.is_file() else []
    keys = [line for key, line in of_recipe if not (may or may_change)(key, recipe)]
    before = read_inputs(folder)
    read = inputs.differences(before, now) if before and now is not None else inputs.Found()
    if now is not None and file.is_file() and not before:
        announce("beware    the run was begun by an older version: whether its files are the same is not known")
    text = []
    if keys:
        text.append(
            f"the recipe is not that of the run: {'; '.join(keys)}; put these back, or start a run of its own from the "
            f"weights with model.path={quote(str(folder))}:STEP"
        )
    if read.refused and not unchecked:
        text.append(
            f"what the run reads has changed: {'; '.join(read.refused)}; put the old content back, or go on all the "
            "same with --unchecked"
        )
    if text:
        raise TrainError(f"--resume {folder}: {'; '.join(text)}")
    packages = inputs.versions(read_json(folder / "environment.json")) if now is not None else []
    lines = [*(line for _, line in of_recipe), *read.told, *read.refused, *packages]
    for line in lines:
        announce(f"changed   {line}")
    return Changed(lines=lines, unchecked=read.refused)


def may_change(key: str, recipe: Recipe) -> bool:
    """Whether a run may go on with another value; the micro-batch only where the global batch stays."""
    if key == "train.per_device_train_batch_size" and recipe.global_batch_size is None:
        return False
    return any(fnmatchcase(key, pattern) for pattern in MAY)


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(key, "key: old -> new") of each value of the recipe that differs; masked, as the older one was written."""
    old, new = (dict(leaves({key: tree.get(key) for key in SECTIONS})) for tree in (masked(before), as_kept(now)))
    for key in sorted(old.keys() | new.keys()):
        if old.get(key) != new.get(key):
            yield key, f"{key}: {_said(old, key)} -> {_said(new, key)}"


def _said(values: Mapping[str, Any], key: str) -> str:
    return str(values[key]) if key in values else "not set"


def as_kept(resolved: Mapping[str, Any]) -> dict[str, Any]:
    """A resolved recipe as it is read back from its file."""
    return dict(json.loads(json_text(masked(resolved), default=str)))
