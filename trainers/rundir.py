"""The run folder: taken once, written whole, its state always readable."""

import json
import os
import platform
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from eval_hooks.files import read_json, write_atomic, write_json
from trainers import TrainError
from trainers.recipe import Pipeline, Recipe

RUNS = Path("runs")


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a run writes, and from where its steps are counted."""

    folder: Path
    """Its recipe, manifest, status and checkpoints."""
    root: Path
    """Its evaluations, metrics and report: the same folder, or the pipeline's."""
    offset: int = 0
    """Steps of the pipeline before it."""
    baselines: Mapping[str, int] = field(default_factory=dict)
    """Task -> step that it is paired with, where that is not the run's first."""

    @property
    def alone(self) -> bool:
        """Whether the run is no part of a pipeline."""
        return self.folder == self.root


def find_run(name: str, runs: Path = RUNS) -> Path | None:
    """The run folder of a path or of a name under `runs`, if there is one."""
    return next((folder for folder in (Path(name), runs / name) if folder.is_dir()), None)


def check_free(run_dir: Path | None, resume: bool) -> None:
    """Raise TrainError where the run folder that was asked for is in use and the run is not resumed."""
    if run_dir is not None and not resume and run_dir.is_dir() and any(run_dir.iterdir()):
        raise TrainError(f"--run-dir {run_dir}: not empty; --resume goes on with it, another name starts anew")


def take(recipe: Recipe | Pipeline, run_dir: Path | None, resume: bool, runs: Path = RUNS) -> Path:
    """Choose and create the run folder: runs/<recipe name>, numbered when taken, or the one asked for.

    Raises TrainError where it cannot be written.
    """
    folder = run_dir or (runs / recipe.name if resume else next_folder(recipe, runs))
    try:
        (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TrainError(f"run folder {folder}: {error.strerror}; name a writable one with --run-dir") from error
    return folder


def next_folder(recipe: Recipe | Pipeline, runs: Path = RUNS) -> Path:
    """Where a new run of the recipe goes: runs/<recipe name>, numbered when taken."""
    folder, number = runs / recipe.name, 2
    while (folder / "status.json").exists():
        folder, number = runs / f"{recipe.name}-{number}", number + 1
    return folder


def give_back(folder: Path) -> None:
    """Remove a run folder in which nothing was measured and nothing trained; anything else stays."""
    if not any(folder.glob("evals/step-*/*")) and not any(folder.glob("checkpoints/*")):
        shutil.rmtree(folder)


def set_aside(root: Path, why: str, step: int) -> Path:
    """Move evaluations after a step into a folder under `aside/`, which is returned, and end metrics.jsonl there."""
    aside = root / "aside" / f"{len(list(root.glob('aside/*'))) + 1}-{why}"
    aside.mkdir(parents=True)
    for folder in root.glob("evals/step-*"):
        at = folder.name.removeprefix("step-")
        if at.isdecimal() and int(at) > step:
            (aside / "evals").mkdir(exist_ok=True)
            shutil.move(folder, aside / "evals" / folder.name)
    file = root / "metrics.jsonl"
    if file.is_file():
        lines = file.read_bytes().splitlines(keepends=True)
        shutil.move(file, aside / file.name)
        write_atomic(file, b"".join(lines_upto(lines, step)))
    return aside


def lines_upto(lines: Sequence[bytes], step: int) -> list[bytes]:
    """The lines of a metrics.jsonl up to a step; a line that a full disk or a kill has torn is left out."""
    return [line for line in lines if (at := _step_of(line)) is not None and at <= step]


def _step_of(line: bytes) -> int | None:
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return None


def write_recipe(folder: Path, recipe: Recipe | Pipeline) -> None:
    """recipe.yaml as written, with the command line's overrides as a comment."""
    words = "".join(f"# {word}\n" for word in recipe.overrides)
    head = f"# {recipe.file}\n" + (f"# overrides on the command line:\n{words}" if words else "")
    write_atomic(folder / "recipe.yaml", (head + recipe.text).encode())


def set_status(folder: Path, state: str, code: int | None = None, **more: Any) -> None:
    """status.json: what is known so far, `state` (running, done, stopped, failed, interrupted) and the exit code."""
    before = read_status(folder) or {"started": time.time()}
    write_json(
        folder / "status.json",
        {**before, "state": state, "code": code, "updated": time.time(), "pid": os.getpid(), **more},
    )


def read_status(folder: Path) -> dict[str, Any]:
    """What status.json says; {} where there is none."""
    return read_json(folder / "status.json")


def trains(folder: Path) -> bool:
    """Whether a run is at work: its status says so, and its process is not gone, where that can be known from here."""
    if read_status(folder).get("state") != "running":
        return False
    file = folder / "environment.json"
    here = file.is_file() and read_json(file).get("host") == platform.node()
    return not here or psutil.pid_exists(int(read_status(folder).get("pid") or 0))
