"""A run folder's recipe, read back from what its run resolved: on any machine, wherever the recipe file is."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from eval_hooks.config import TaskSpec
from eval_hooks.json_text import parse_json
from eval_hooks.names import as_name
from eval_hooks.storage.inside import check_folder
from launch.code import need_trust
from launch.compose import tree_of
from launch.load import with_words
from launch.plugins import add_plugins
from launch.problems import RecipeError
from launch.resolved import HEAD
from launch.tables import Tables, shipped
from launch.validate import validate
from trainers.recipe import Pipeline, PipelineStage, Recipe, runs_of
from trainers.rundir import RUNS, find_run

MEASURING = ("model", "data", "eval", "track")
"""Sections that a later measurement may set; the others have had their effect."""
NOT_SECTIONS = (*HEAD, "arguments", "plugins", "deepspeed", "launch")


def watched(
    name: str, words: Sequence[str] = (), runs: Path = RUNS, *, trust: bool = False
) -> tuple[Path, Recipe | Pipeline]:
    """The run folder of `temper watch`, and its recipe with the words laid over it (of a pipeline: over each run).

    Raises RecipeError for a folder that is no run's, a stage of a pipeline, a recipe that cannot be read or, without
    `trust`, would run code, and words that cannot be set; EvalError for a folder that leads elsewhere.
    """
    folder = find_run(name, runs)
    if folder is None or not (folder / "recipe.resolved.json").is_file():
        advice = "name the folder that `temper train` printed, once it has begun"
        raise RecipeError(f"watch {name}: no run folder (a folder with recipe.resolved.json); {advice}")
    if folder.resolve().parent.name == "stages":
        raise RecipeError(f"watch {name}: one run of a pipeline; name the pipeline: {folder.resolve().parents[1]}")
    if other := [word for word in words if word.split(".")[0] not in MEASURING]:
        sections = ", ".join(MEASURING)
        raise RecipeError(
            f"watch {name}: {other[0]!r} cannot be set any more; a watcher measures, and reads {sections}"
        )
    recipe = read_back(folder, words, trust=trust)
    if words:
        _check_names(name, _tasks(read_back(folder, trust=True)), _tasks(recipe))
    return folder, recipe


def _tasks(recipe: Recipe | Pipeline) -> dict[str, TaskSpec]:
    """What is asked, by name; runs of a pipeline ask the same under the same name."""
    return {spec.called: spec for run in runs_of(recipe) for spec in (*run.eval.target, *run.eval.retain)}


def _check_names(name: str, own: Mapping[str, TaskSpec], asked: Mapping[str, TaskSpec]) -> None:
    """The run's own numbers stay: what is asked otherwise needs another name."""
    if changed := [task for task in asked if task in own and asked[task] != own[task]]:
        advice = f"give it another: {{task: {asked[changed[0]].task}, name: {changed[0]}2, ...}}"
        raise RecipeError(f"watch {name}: {changed[0]!r} is a task that the run asks in another way; {advice}")


def read_back(
    folder: Path, words: Sequence[str] = (), tables: Tables | None = None, *, trust: bool = False
) -> Recipe | Pipeline:
    """The recipe or pipeline of a run folder; plugins and other code that it asks for are run only with `trust`."""
    check_folder(folder)
    file = folder / "recipe.resolved.json"
    try:
        whole = parse_json(file.read_bytes(), str(file))
        text = (folder / "recipe.yaml").read_text("utf-8")
        name, written, overrides = as_name(whole["name"], "run"), Path(whole["file"]), tuple(whole["overrides"])
        runs = [(str(run["name"]), run, Path(run["file"]), [*run["overrides"]]) for run in whole.get("pipeline", ())]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RecipeError(f"{file}: the run's recipe cannot be read back: {type(error).__name__}: {error}") from error
    if not trust:
        need_trust(file, whole, words)
    tables = add_plugins(tree_of({key: whole[key] for key in ("plugins",) if key in whole}), tables or shipped())
    if "pipeline" not in whole:
        return _recipe(whole, written, text, words, tables)
    stages = tuple(
        PipelineStage(name=stage, recipe=_recipe(entry, source, "", words, tables)) for stage, entry, source, _ in runs
    )
    if not stages:
        raise RecipeError(f"{file}: the run's recipe cannot be read back: a pipeline of no runs")
    return Pipeline(
        name=name, file=written, text=text, overrides=overrides, stages=stages, wandb=stages[0].recipe.wandb,
        resolved=whole,
    )  # fmt: skip


def _recipe(whole: Mapping[str, Any], file: Path, text: str, words: Sequence[str], tables: Tables) -> Recipe:
    sections = {key: value for key, value in whole.items() if key not in NOT_SECTIONS and value is not None}
    return validate(with_words(tree_of(sections), words), file, text, (*whole["overrides"], *words), tables)
