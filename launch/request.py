"""What `temper eval` and `--resume` ask for, checked as a recipe is."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from eval_hooks.config import TaskSpec
from eval_hooks.dashboard import Logged, of_folder, of_project
from launch import entries
from launch.bounds import BOUNDS
from launch.compose import tree_of
from launch.load import with_words
from launch.problems import RecipeError
from launch.tables import Tables, shipped
from launch.typed import Report, build
from trainers.recipe import ModelSection
from trainers.rundir import RUNS, find_run

NEWEST = "newest"
"""What `--resume` without a value means."""


def evaluation(
    model: str, task: str, options: Mapping[str, Any], words: Sequence[str] = (), tables: Tables | None = None
) -> tuple[ModelSection, TaskSpec]:
    """The model and the one task of `temper eval`.

    `options` are the command's own (None: not given); words are `model.dtype=float32` for the model, and any other key
    for the task.
    Raises RecipeError with all problems.
    """
    tables = tables or shipped()
    given = {key: value for key, value in options.items() if value is not None}
    placed = [word if word.startswith("model.") else f"task.{word}" for word in words]
    tree = with_words(tree_of({"model": {"path": model}, "task": {"task": task, **given}}), placed)
    report = Report(bounds=BOUNDS)
    section = build(ModelSection, tree.value["model"], "model", report)
    spec = entries.task(tree.value["task"], "task", tables, report)
    if report.problems:
        raise RecipeError(report.problems)
    return section, spec


def forked(word: str, runs: Path = RUNS) -> tuple[Path, int] | None:
    """(run folder, step) of `--resume RUN:STEP`, which a new run begins at; None for `--resume` alone.

    Raises RecipeError for another form, or a run that is not there.
    """
    if word == NEWEST:
        return None
    match = re.fullmatch(r"(.+):(\d+)", word)
    if match is None:
        raise RecipeError(
            f"--resume {word!r}: write --resume alone to go on with the run, or --resume RUN:STEP for one from there"
        )
    folder = find_run(match[1], runs)
    if folder is None:
        raise RecipeError(f"--resume {word}: no run folder {match[1]!r} here or under {runs}/")
    return folder, int(match[2])


def resumed_pipeline(
    word: str | None, run_dir: Path | None, names: Sequence[str], runs: Path = RUNS
) -> tuple[Path | None, str | None]:
    """The pipeline's folder that `--resume` means (None: its own), and the stage to restart at, if one is named.

    Raises RecipeError for a folder that is not there, or a stage that the pipeline has not.
    """
    if word is None or word == NEWEST:
        return run_dir, None
    name, _, stage = word.rpartition(":")
    folder = find_run(name, runs)
    if folder is None:
        raise RecipeError(f"--resume {word}: no run folder {name!r} here or under {runs}/")
    if stage not in names:
        raise RecipeError(f"--resume {word}: the pipeline has no stage {stage!r}; there is: {', '.join(names)}")
    return folder, stage


def logged(where: str, runs: Path = RUNS) -> Logged:
    """What `temper dashboard` shows: a run folder's keys (it wins over a project of that name), or a W&B project's.

    Raises RecipeError for anything else.
    """
    folder = find_run(where, runs)
    if folder is not None:
        return of_folder(folder)
    if match := re.fullmatch(r"([\w.-]+)/([\w.-]+)", where):
        return of_project(match[1], match[2])
    raise RecipeError(f"{where!r}: no run folder here or under {runs}/, and no W&B project; write ENTITY/PROJECT")


def over_seeds(
    names: Sequence[str], base: str | None, seeds: Sequence[str], against: Sequence[str], fail_on: str | None = None
) -> bool:
    """Whether `temper compare` is asked for two recipes over their seeds.

    Raises RecipeError for one group of runs without the other, and for both ways of comparing at once.
    """
    if not (seeds or against):
        return False
    if not (seeds and against):
        lacking = "--against B1 B2 ..." if seeds else "--seeds A1 A2 ..."
        raise RecipeError(f"compare: {lacking} is missing; two recipes over seeds are --seeds A1 A2 --against B1 B2")
    if fail_on is not None:
        raise RecipeError(f"compare --fail-on {fail_on}: with A B only; over seeds see compare-seeds.json")
    if names or base:
        more = [*names, *([f"--base {base}"] if base else [])]
        raise RecipeError(
            f"compare {' '.join(more)}: not together with --seeds and --against, which name all runs; in "
            "--seeds A1 A2 --against B1 B2 the names stand straight after their option"
        )
    return True
