"""Evaluations on disk, found by the names people give them: RUN_DIR, RUN_DIR:STEP, or a folder with summary.json."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from eval_hooks.errors import EvalError
from eval_hooks.files import evaluations, summary_of
from eval_hooks.results.prompts import Prompts, difference, of_entry
from eval_hooks.storage.inside import check_folder
from eval_hooks.table import read_table, readable

RUNS = Path("runs")
"""Where a bare run name is looked for, after the working folder."""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """A folder with summary.json and one table a task."""

    folder: Path
    summary: Mapping[str, Any]

    @property
    def label(self) -> str:
        """Short and readable: RUN:STEP inside a run folder, else the folder's own name."""
        inside = self.folder.parent.name == "evals"
        name = self.folder.resolve().parents[1].name if inside else self.folder.resolve().name
        return f"{name}:{self.summary['step']}" if inside else name

    def tasks(self) -> dict[str, Mapping[str, Any]]:
        """The tasks that were measured on all of their items."""
        return {name: task for name, task in self.summary["tasks"].items() if task["status"] == "ok"}

    def numbered(self) -> dict[str, Mapping[str, Any]]:
        """Those, and the ones scored in waves, whose few items are weighted to stand for all."""
        statuses = ("ok", "stopped_early")
        return {name: task for name, task in self.summary["tasks"].items() if task["status"] in statuses}

    def asked(self, task: str) -> Prompts:
        """A task's prompts, as far as they are kept."""
        file = self.folder / f"{task}.parquet"
        return of_entry(str(self.folder), self.summary["tasks"].get(task, {}), readable(file))

    def table(self, task: str) -> pa.Table:
        """A task's per-item table. Raises EvalError where it is missing or broken."""
        return read_table(self.folder / f"{task}.parquet")


def find(name: str, runs: Path = RUNS) -> Evaluation:
    """The evaluation meant by RUN_DIR (its newest), RUN_DIR:STEP or an evaluation folder; runs are found by name too.

    Raises EvalError where there is none, naming the steps there are, and for a folder that leads elsewhere.
    """
    run, _, step = name.rpartition(":")
    root, wanted = (run, int(step)) if run and step.isdigit() else (name, None)
    folder = _folder(root, runs)
    if wanted is None and (folder / "summary.json").is_file():
        check_folder(folder)
        return _read(folder)
    steps = evaluations(folder)
    if not steps:
        raise EvalError(f"{name}: no evaluation there; name a run folder, RUN_DIR:STEP, or a folder with summary.json")
    if wanted is not None and wanted not in steps:
        raise EvalError(f"{name}: no evaluation at step {wanted}; there are: {', '.join(map(str, steps))}")
    check_folder(folder)
    return _read(steps[max(steps) if wanted is None else wanted])


def find_all(name: str, runs: Path = RUNS) -> tuple[Evaluation, ...]:
    """Every evaluation of a run folder, in order of step. Raises EvalError for a folder without any."""
    folder = _folder(name, runs)
    steps = evaluations(folder)
    if not steps:
        raise EvalError(f"{name}: no evaluation there (evals/step-*/summary.json); name a run folder")
    check_folder(folder)
    return tuple(_read(folder) for folder in steps.values())


def _folder(name: str, runs: Path) -> Path:
    return next((folder for folder in (Path(name), runs / name) if folder.is_dir()), Path(name))


def _read(folder: Path) -> Evaluation:
    return Evaluation(folder=folder, summary=summary_of(folder))


def same_prompts(task: str, first: Evaluation, one: Evaluation, remedy: str) -> None:
    """Raise EvalError where a task was not asked with the same prompts, with the first place where they differ."""
    hashes: list[Any] = [side.tasks().get(task, {}).get("prompt_hash") for side in (first, one)]
    if hashes[0] != hashes[1]:
        raise EvalError(
            f"{task}: asked with other prompts (hash {hashes[0]} in {first.folder}, {hashes[1]} in {one.folder}): "
            f"{difference(first.asked(task), one.asked(task))}; {remedy}"
        )
