"""The run folder: taken once, written whole, its state always readable."""

import os
import platform
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil

from data_mix import today
from eval_hooks.files import read_json, write_atomic, write_json
from eval_hooks.masking import masked_message, masked_text, masked_words, masked_yaml
from eval_hooks.storage.inside import check_folder, remove
from trainers import TrainError
from trainers.recipe import Pipeline, Recipe

RUNS = Path("runs")
MANIFEST = "data.manifest.json"
"""`temper data` leaves it where the next run of the recipe will be."""
OURS = ("recipe.yaml", "recipe.resolved.json", "environment.json", MANIFEST, "inputs.json", "status.json",
        "wandb.json", "wandb", "logs", "tensorboard", "eval_tokenizer", "checkpoints", "evals", "metrics.jsonl",
        "stages")  # fmt: skip
"""What a start may have written before anything is trained."""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A run folder that this start has for itself."""

    folder: Path
    made: bool = False
    """Whether this start made it."""
    kept: frozenset[str] = frozenset()
    """What was in it before, and stays whatever happens."""


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
    runs: int = 1
    """Of the pipeline, those that measure something."""

    @property
    def alone(self) -> bool:
        """Whether the run is no part of a pipeline."""
        return self.folder == self.root


def find_run(name: str, runs: Path = RUNS) -> Path | None:
    """The run folder of a path or of a name under `runs`, if there is one."""
    return next((folder for folder in (Path(name), runs / name) if folder.is_dir()), None)


def check_free(run_dir: Path | None, resume: bool) -> None:
    """Raise TrainError where the run folder that was asked for is in use and the run is not resumed."""
    if run_dir is not None and not resume and not is_free(run_dir):
        raise TrainError(f"--run-dir {run_dir}: {_in_use(run_dir)}; --resume goes on with it, another name starts anew")


def _in_use(folder: Path) -> str:
    return "not empty" if folder.is_dir() else "a file"


def is_free(folder: Path) -> bool:
    """Whether a new run may have a folder: it is not there, or holds nothing but what `temper data` leaves."""
    try:
        return not os.path.lexists(folder) or (folder.is_dir() and entries(folder) <= {MANIFEST})
    except PermissionError:  # whose content is not for this user is somebody's
        return False


def entries(folder: Path) -> frozenset[str]:
    """The names in a folder."""
    return frozenset(entry.name for entry in folder.iterdir())


def take(recipe: Recipe | Pipeline, run_dir: Path | None, resume: bool, runs: Path = RUNS) -> Claim:
    """Claim the run folder: runs/<recipe name>, numbered when taken, or the one asked for.

    Of several starts at once one gets it: a folder is made exclusively. To resume, what is there must be a run's, with
    nothing in it that leads elsewhere, and at rest. Raises TrainError or EvalError where the folder cannot be had.
    """
    try:
        if resume:
            return _again(run_dir or runs / recipe.name)
        if run_dir is not None:
            claim = _claimed(run_dir)
            if claim is None:
                raise TrainError(f"--run-dir {run_dir}: another start has taken it; name another folder")
            return claim
        return next(claim for folder in _numbered(recipe, runs) if (claim := _claimed(folder)))
    except OSError as error:
        folder = run_dir or runs / recipe.name
        raise TrainError(f"run folder {folder}: {error.strerror}; name a writable one with --run-dir") from error


def _again(folder: Path) -> Claim:
    """A run folder to go on in; one that is not there yet is claimed, since a run may be told to resume from the first.

    A status is written at once, so that another start sees that the folder is taken.
    """
    if claim := _claimed(folder):
        return claim
    if not folder.is_dir():
        raise TrainError(f"--resume {folder}: {_in_use(folder)}; name a run folder with --run-dir")
    check_folder(folder)
    if not (folder / "status.json").is_file() and (foreign := sorted(entries(folder) - set(OURS))):
        raise TrainError(
            f"--resume {folder}: no run's folder: it holds {foreign[0]!r} and no status.json; name another"
        )
    if process := worker(folder):
        raise TrainError(f"--resume {folder}: a run is at work in it (process {process}); wait for its end, or stop it")
    return Claim(folder=folder, kept=entries(folder))


def _claimed(folder: Path) -> Claim | None:
    """The claim of a free folder; None where it is in use, or another start was quicker.

    Whoever makes `checkpoints` has it: also in a folder that was there, and is empty.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        folder.mkdir()
        made = True
    except FileExistsError:
        if not is_free(folder):
            return None
        made = False
    kept = frozenset() if made else entries(folder)
    try:
        (folder / "checkpoints").mkdir()
    except FileExistsError:
        return None
    set_status(folder, "running", doing="starting")
    return Claim(folder=folder, made=made, kept=kept)


def next_folder(recipe: Recipe | Pipeline, runs: Path = RUNS) -> Path:
    """Where a new run of the recipe would go now: runs/<recipe name>, numbered when taken."""
    return next(folder for folder in _numbered(recipe, runs) if is_free(folder))


def _numbered(recipe: Recipe | Pipeline, runs: Path) -> Iterator[Path]:
    yield runs / recipe.name
    number = 2
    while True:
        yield runs / f"{recipe.name}-{number}"
        number += 1


def give_back(claim: Claim) -> None:
    """Remove what this start made, where nothing was measured and nothing trained; anything else stays."""
    folder = claim.folder
    if any(folder.glob("evals/step-*/*")) or any(folder.glob("checkpoints/*")):
        return
    for name in entries(folder) & set(OURS) - claim.kept:
        remove(folder / name, folder)
    if claim.made and not any(folder.iterdir()):
        folder.rmdir()


def write_recipe(folder: Path, recipe: Recipe | Pipeline) -> None:
    """recipe.yaml as written but for secrets, with the command line's overrides as a comment."""
    words = "".join(f"# {word}\n" for word in masked_words(recipe.overrides))
    head = f"# {recipe.file.name}\n" + (f"# overrides on the command line:\n{words}" if words else "")
    write_atomic(folder / "recipe.yaml", (masked_text(head) + masked_yaml(recipe.text)).encode())


def set_status(folder: Path, state: str, code: int | None = None, **more: Any) -> None:
    """status.json: what is known so far, `state` (running, done, stopped, failed, interrupted) and the exit code."""
    before = read_status(folder) or {"started": time.time()}
    more = {key: masked_message(value) if isinstance(value, str) else value for key, value in more.items()}
    write_json(
        folder / "status.json",
        {
            **before,
            "state": state,
            "code": code,
            "updated": time.time(),
            "pid": os.getpid(),
            "host": platform.node(),
            **more,
        },
    )


def read_status(folder: Path) -> dict[str, Any]:
    """What status.json says; {} where there is none."""
    return read_json(folder / "status.json")


def keep_date(root: Path) -> None:
    """Have chat templates told the moment that a run was begun with, as its status says; nothing where there is none.

    Raises DataError for a status that says no date.
    """
    status = read_status(root)
    begun = status.get("started")
    said = status.get("date") or (datetime.fromtimestamp(begun).isoformat() if isinstance(begun, int | float) else None)
    if said:
        today.set_moment(str(said), f"{root / 'status.json'}: date")


def begin_date(root: Path | None) -> None:
    """The moment that chat templates are told: that of a run that is gone on with, else of now."""
    today.forget()
    if root is not None:
        keep_date(root)
    today.moment()


def trains(folder: Path) -> bool:
    """Whether a run is at work: its status says so, and its process is not gone, where that can be known from here."""
    if read_status(folder).get("state") != "running":
        return False
    file = folder / "environment.json"
    here = file.is_file() and read_json(file).get("host") == platform.node()
    return not here or psutil.pid_exists(int(read_status(folder).get("pid") or 0))


def worker(folder: Path) -> int | None:
    """The process that is at work in a run folder on this machine, as its status says; None where none is known.

    A number may have been given to another process since: one that began after the status was written is not meant.
    """
    status = read_status(folder)
    pid, written = status.get("pid"), status.get("updated")
    if status.get("state") != "running" or status.get("host") != platform.node() or pid == os.getpid():
        return None
    if not isinstance(pid, int) or not isinstance(written, int | float):
        return None
    try:
        process = psutil.Process(pid)
        alive = process.status() != psutil.STATUS_ZOMBIE and process.create_time() <= written + 1
    except (psutil.Error, ValueError):
        return None
    return pid if alive else None
