"""What the Trainer logs, into metrics.jsonl and W&B under its own names."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from eval_hooks.track import Tracker
from trainers.recipe import Pipeline, Recipe
from trainers.rundir import write_json


def start_wandb(recipe: Recipe | Pipeline, folder: Path, config: Mapping[str, Any]) -> Any:
    """A W&B run in the run folder: offline unless the recipe or WANDB_MODE says otherwise; None where tracking is off.

    A resumed run goes on in the W&B run that the folder's wandb.json names. WANDB_* variables win, as wandb's users
    expect.
    """
    section = recipe.wandb
    if section is None:
        return None
    import wandb

    mode = os.environ.get("WANDB_MODE") or section.mode
    if mode == "disabled":
        return None
    file = folder / "wandb.json"
    there = json.loads(file.read_text("utf-8"))["id"] if file.is_file() else None
    run = wandb.init(
        id=os.environ.get("WANDB_RUN_ID") or there,
        resume="allow" if there else None,
        project=os.environ.get("WANDB_PROJECT") or section.project,
        entity=os.environ.get("WANDB_ENTITY") or section.entity,
        group=os.environ.get("WANDB_RUN_GROUP") or section.group,
        name=os.environ.get("WANDB_NAME") or section.name or folder.name,
        tags=list(section.tags) or None,
        mode=mode,
        dir=str(folder),
        config=dict(config),
        settings=wandb.Settings(quiet=True, console="off"),
    )
    write_json(file, {"id": run.id, "entity": run.entity, "project": run.project})
    return run


class LogTrain(TrainerCallback):
    """Passes each line the Trainer logs on as `train/*`."""

    def __init__(self, tracker: Tracker) -> None:
        self.tracker = tracker

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """One line to metrics.jsonl and W&B."""
        if state.is_world_process_zero and logs:
            numbers = {f"train/{key}": value for key, value in logs.items() if isinstance(value, int | float)}
            self.tracker.log(state.global_step, numbers)
