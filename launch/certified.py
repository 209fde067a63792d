"""The checkpoint that `temper certify` and `temper export` are asked about, with its run's recipe."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from eval_hooks.certificate import read
from eval_hooks.files import checkpoints, step_in
from launch.problems import RecipeError
from launch.reread import read_back
from trainers.pipeline import baselines, recommended, stage_folder, starting_from, steps_of
from trainers.quantise import BITS
from trainers.recipe import Pipeline, Recipe
from trainers.rundir import RUNS, Place, find_run


def bits_asked(merged: bool, bits: int | None) -> Sequence[int]:
    """Which quantised weights are measured. Raises RecipeError for others than 8 and 4."""
    if bits is not None and bits not in BITS:
        raise RecipeError(f"--bits {bits}: weights are quantised to {' or '.join(map(str, BITS))} bits")
    return () if merged and bits is None else BITS if bits is None else (bits,)


def checkpoint_of(word: str, runs: Path = RUNS, *, trust: bool = False) -> tuple[Recipe, Place, int]:
    """The recipe of a checkpoint's run, where that run wrote, and the step.

    `word` is RUN:STEP, or the checkpoint's folder (`best` too). Raises RecipeError for anything else, and without
    `trust` for a run whose recipe would run code.
    """
    folder = _folder(word, runs)
    run, step = folder.parents[1], step_in(folder.name, "checkpoint")
    assert step is not None
    if run.parent.name == "stages":
        return *_stage(word, run.parents[1], run, trust), step
    recipe = read_back(run, trust=trust)
    assert isinstance(recipe, Recipe)
    return recipe, Place(folder=run, root=run), step


def is_exported(word: str) -> bool:
    """Whether a folder is one that `temper export` wrote with its certificate."""
    return "exported" in (read(Path(word)) or {})


def _folder(word: str, runs: Path) -> Path:
    """The checkpoint's folder, in a run folder."""
    if (folder := Path(word)).is_dir():
        folder = folder.resolve()
        home = folder.parents[1] if len(folder.parts) > 2 else folder
        if (home / "recipe.resolved.json").is_file() and folder in map(Path.resolve, checkpoints(home).values()):
            return folder
        raise RecipeError(f"{word}: no checkpoint of a run folder; name RUN:STEP, or RUN/checkpoints/checkpoint-STEP")
    match = re.fullmatch(r"(.+):(\d+)", word)
    run = find_run(match[1], runs) if match else None
    if match is None or run is None:
        raise RecipeError(f"{word!r}: no such checkpoint here or under {runs}/; write RUN:STEP, or name its folder")
    if (run / "stages").is_dir():
        stages = ", ".join(str(stage) for stage in sorted(run.glob("stages/*")))
        raise RecipeError(f"{word}: a pipeline; name one of its runs with that run's own step: {stages}")
    there = checkpoints(run)
    if int(match[2]) not in there:
        steps = ", ".join(map(str, there)) or "none"
        raise RecipeError(f"{word}: no checkpoint at step {match[2]}; there is: {steps}")
    return there[int(match[2])].resolve()


def _stage(word: str, root: Path, folder: Path, trust: bool) -> tuple[Recipe, Place]:
    """One run of a pipeline: what it started from, and where its steps lie on the pipeline's axis."""
    pipeline = read_back(root, trust=trust)
    if not isinstance(pipeline, Pipeline):
        raise RecipeError(f"{word}: {root} holds no pipeline's recipe")
    folders = [stage_folder(root, number, stage.name) for number, stage in enumerate(pipeline.stages)]
    if folder not in folders:
        raise RecipeError(f"{word}: {folder.name} is no run of the pipeline in {root}")
    at, begins = folders.index(folder), [0]
    for before in folders[:at]:
        begins.append(begins[-1] + steps_of(before))
    stage = pipeline.stages[at]
    if at:
        stage = starting_from(stage, recommended(folders[at - 1]))
    place = Place(folder=folder, root=root, offset=begins[-1], baselines=baselines(pipeline, at, begins))
    return replace(stage.recipe, wandb=None), place
