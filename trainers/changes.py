"""What a recipe that goes on with a run may say otherwise than the run did, and what it may not."""

import json
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from shlex import quote
from typing import Any

from eval_hooks.files import read_json
from eval_hooks.json_text import json_text
from eval_hooks.masking import masked
from eval_hooks.variance.recipes import leaves
from trainers import TrainError, announce
from trainers.recipe import Recipe

SECTIONS = ("stage", "model", "adapter", "method", "data", "train", "deepspeed", "eval", "track", "launch")
MAY = (
    "eval.*", "track.*", "launch.*", "train.max_steps", "train.num_train_epochs", "train.logging_*", "train.log_*",
    "train.save_*", "train.dataloader_*", "train.disable_tqdm", "train.ddp_timeout", "train.metric_for_best_model",
    "train.greater_is_better", "train.activation_checkpointing*", "train.gradient_checkpointing*",
    "train.per_device_train_batch_size", "train.skip_bad_batches",
)  # fmt: skip
"""Keys that change how long the run is, how it is watched, or how the same step is computed."""


def check_changes(folder: Path, recipe: Recipe) -> list[str]:
    """Say how the recipe differs from what the run in `folder` was, and return that, a line a key.

    Raises TrainError naming every key that may not differ: with another value the run would be another one from its
    first step on.
    """
    file = folder / "recipe.resolved.json"
    if not file.is_file():
        return []
    before = read_json(file)
    found = list(differences(before, recipe.resolved))
    refused = [line for key, line in found if not may_change(key, recipe)]
    if refused:
        raise TrainError(
            f"--resume {folder}: the recipe is not that of the run: {'; '.join(refused)}; put these back, or start a "
            f"run of its own from the weights with model.path={quote(str(folder))}:STEP"
        )
    for _, line in found:
        announce(f"changed   {line}")
    return [line for _, line in found]


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
