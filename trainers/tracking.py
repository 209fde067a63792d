"""What the Trainer logs, into metrics.jsonl and W&B under its own names."""

import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from eval_hooks.files import read_json, write_json
from eval_hooks.sinks import start
from eval_hooks.track import Tracker
from eval_hooks.wandb_files import run_folders
from trainers import announce
from trainers.recipe import Pipeline, Recipe, WandbSection, runs_of
from trainers.rundir import trains


def start_wandb(recipe: Recipe | Pipeline, folder: Path, config: Mapping[str, Any]) -> Any:
    """A W&B run in the run folder: offline unless the recipe or WANDB_MODE says otherwise; None where tracking is off.

    A resumed run goes on in the W&B run that the folder's wandb.json names. WANDB_* variables win, as wandb's users
    expect.
    """
    section = recipe.wandb
    if section is None:
        return None
    mode = os.environ.get("WANDB_MODE") or section.mode
    if mode == "disabled":
        return None
    if mode == "online" and shares_wandb(recipe):
        mode = "shared"
    for line in overruled(section, os.environ):
        announce(f"track     {line}")
    file = folder / "wandb.json"
    there = read_json(file).get("id")
    asked: dict[str, Any] = {
        "id": os.environ.get("WANDB_RUN_ID") or there,
        "resume": "allow" if there else None,
        "project": os.environ.get("WANDB_PROJECT") or section.project,
        "entity": os.environ.get("WANDB_ENTITY") or section.entity,
        "group": os.environ.get("WANDB_RUN_GROUP") or section.group,
        "name": os.environ.get("WANDB_NAME") or section.name or folder.name,
        "tags": None if os.environ.get("WANDB_TAGS") else list(section.tags) or None,  # None: W&B reads the variable
        "dir": str(folder.resolve()),  # W&B's process keeps the folder it was started in
        "config": dict(config),
    }
    try:
        run = start(**asked, mode=mode)
    except Exception as error:  # whatever W&B cannot do must not end a run
        announce(f"warning   W&B: {error}; the run is kept offline, for `wandb sync` later")
        try:
            run = start(**asked, mode="offline")
        except Exception as again:
            announce(f"warning   W&B: {again}; the run goes on without it, every number is in metrics.jsonl")
            return None
    write_json(file, {"id": run.id, "entity": run.entity, "project": run.project})
    return run


VARIABLES = {
    "WANDB_MODE": "mode",
    "WANDB_PROJECT": "project",
    "WANDB_ENTITY": "entity",
    "WANDB_RUN_GROUP": "group",
    "WANDB_NAME": "name",
    "WANDB_TAGS": "tags",
}
"""Variable of W&B's -> the key of track.wandb that it wins over."""


def overruled(section: WandbSection, environ: Mapping[str, str]) -> list[str]:
    """What a variable says otherwise than the recipe, a line each; a key that says its default is no other word."""
    lines, open_ = [], WandbSection()
    for variable, key in VARIABLES.items():
        mine, said = getattr(section, key), environ.get(variable)
        text = ",".join(mine) if isinstance(mine, tuple) else mine
        if said and mine != getattr(open_, key) and said != text:
            lines.append(f"{variable}={said} wins over track.wandb.{key}: {text}")
    return lines


def end_wandb() -> None:
    """Finish the W&B run of this process; where W&B has failed, what it has is on disk already."""
    import wandb

    try:
        wandb.finish()
    except Exception as error:
        announce(f"warning   W&B: {type(error).__name__}: {error}; every number is in metrics.jsonl")


def join_wandb(recipe: Recipe | Pipeline, root: Path, trust: bool = False) -> tuple[Any, str]:
    """(the W&B run of a run folder as a further writer, what to say of it); the run is None where it cannot be joined.

    Its id and mode are those of the newest folder that wandb made there (`run-TIME-ID`, `offline-run-TIME-ID`).
    Offline, wandb writes a further folder of the same id, to be synchronised with the others. Online, two processes may
    only write at once in its shared mode, which both must be in; a run that is over is resumed. A run folder alone
    uploads nothing, since its account and project may be a stranger's: `trust` or WANDB_MODE=online must ask for it.
    """
    kept = run_folders(root)
    if recipe.wandb is None or not kept or os.environ.get("WANDB_MODE") == "disabled":
        return None, "the run keeps none here; all numbers are in metrics.jsonl"
    import wandb

    number, offline = kept[-1].run_id, kept[-1].offline
    over = not trains(root)
    if not offline and not trust and os.environ.get("WANDB_MODE") != "online":
        return None, f"run {number} is online: --trust joins it; all numbers are in metrics.jsonl"
    if not offline and not over and not shares_wandb(recipe):
        return None, (
            f"run {number} is being written by the trainer alone (eval.live: false lets watchers in); all numbers are "
            "in metrics.jsonl"
        )
    section = recipe.wandb
    mode = "offline" if offline else "online" if over else "shared"
    further: dict[str, Any] = {"x_primary": False, "x_update_finish_state": False} if mode == "shared" else {}
    try:
        run = start(
            project=os.environ.get("WANDB_PROJECT") or section.project,
            entity=os.environ.get("WANDB_ENTITY") or section.entity,
            id=number,
            resume="must" if mode == "online" else "allow" if offline else None,
            mode=mode,
            dir=str(root.resolve()),
            settings={"x_label": "watch", **further},
        )
    except wandb.Error as error:
        return None, f"run {number} cannot be joined ({error}); all numbers are in metrics.jsonl"
    if offline:
        folders = f"{shlex.quote(str(root))}/wandb/offline-run-*-{shlex.quote(number)}"
        return run, f"offline, as the run: wandb sync --id {number} {folders} joins both"
    return run, f"run {number} is joined"


def shares_wandb(recipe: Recipe | Pipeline) -> bool:
    """Whether watchers write into the run's W&B run beside the trainer: where measuring is left to them."""
    return not all(run.eval.live for run in runs_of(recipe))


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


def wandb_dir(wandb_run: Any) -> str | None:
    """What `wandb sync` takes: the run's folder; of a resumed run all of them, in the order of their dates."""
    if wandb_run is None:
        return None
    folders = run_folders(Path(wandb_run.dir).parents[2], wandb_run.id)
    return shlex.join(sorted(str(one.path) for one in folders))
