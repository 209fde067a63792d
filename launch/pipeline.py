"""A pipeline's recipe: the runs it names, each loaded and checked as one of its own."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from eval_hooks.masking import masked_words
from eval_hooks.names import RULE, alike, as_name, is_name
from launch.compose import merge, read, text_of
from launch.nodes import Node, plain
from launch.problems import Problem, RecipeError, nearest, shown
from launch.recipes import find_recipe
from launch.tables import Tables
from launch.validate import validate
from trainers.recipe import Pipeline, PipelineStage, Recipe

KEYS = ("name", "recipe", "set")
BESIDE = ("pipeline", "track", "plugins")
"""Sections that a pipeline's recipe may have; all others belong to its runs."""


def validate_pipeline(tree: Node, file: Path, text: str, overrides: Sequence[str], tables: Tables) -> Pipeline:
    """The typed pipeline of a composed tree. Raises RecipeError with the problems of all its runs."""
    problems: list[Problem] = []
    for name, node in tree.value.items():
        if name not in BESIDE:
            problems.append(_problem(name, node, "belongs to a run of the pipeline; write it in that run's `set:`"))
    listed = tree.value["pipeline"]
    if not isinstance(listed.value, list) or not listed.value:
        what = "[] is empty" if listed.value == [] else f"{shown(plain(listed))}: a list of runs is due"
        text_ = f"{what}; write pipeline: [{{name: learn, recipe: sft/facts}}]"
        raise RecipeError([*problems, _problem("pipeline", listed, text_)])
    stages: list[PipelineStage] = []
    for i, node in enumerate(listed.value):
        try:
            stages.append(_stage(node, f"pipeline.{i}", file, tree, tables))
        except RecipeError as error:
            problems += error.problems
    names = [stage.name for stage in stages]
    for name in sorted(set(alike(names))):
        problems.append(_problem("pipeline", listed, f"two runs are called {name!r}; each needs a name of its own"))
    problems += _differing_tasks(stages, listed)
    stages, unsorted = _going_on(stages, listed)
    problems += unsorted
    if problems:
        raise RecipeError(problems)
    resolved = {
        "name": as_name(file.stem, "run"), "file": str(file), "overrides": masked_words(overrides),
        "pipeline": [{**stage.recipe.resolved, "name": stage.name} for stage in stages],
    }  # fmt: skip
    return Pipeline(
        name=as_name(file.stem, "run"), file=file, text=text, overrides=tuple(masked_words(overrides)),
        stages=tuple(stages),
        wandb=stages[0].recipe.wandb, resolved=resolved,
    )  # fmt: skip


def _stage(node: Node, path: str, file: Path, tree: Node, tables: Tables) -> PipelineStage:
    if not isinstance(node.value, dict):
        raise RecipeError(_problem(path, node, f"{shown(plain(node))}: a map is due, with {', '.join(KEYS)}"))
    problems = [
        _problem(f"{path}.{key}", child, f"no such key{nearest(key, KEYS)}")
        for key, child in node.value.items()
        if key not in KEYS
    ]
    for key in ("name", "recipe"):
        child = node.value.get(key)
        if child is None or not isinstance(child.value, str) or not child.value:
            problems.append(_problem(f"{path}.{key}", child or node, "missing; a run needs a name and a recipe"))
    if problems:
        raise RecipeError(problems)
    name, named = node.value["name"].value, node.value["recipe"]
    if not is_name(name):
        raise RecipeError(_problem(f"{path}.name", node.value["name"], f"{shown(name)}: {RULE}"))
    return PipelineStage(name=name, recipe=_recipe(node, named, f"{path}.recipe", file, tree, tables))


def _recipe(node: Node, named: Node, path: str, file: Path, tree: Node, tables: Tables) -> Recipe:
    """A run's recipe with its `set:` laid over it, and the pipeline's tracking."""
    try:
        found = find_recipe(named.value, named.place.folder)
    except RecipeError as error:
        raise RecipeError(_problem(path, named, str(error))) from error
    if found == file:
        raise RecipeError(_problem(path, named, "the pipeline names itself, so it would never end"))
    own = read(found)
    if "pipeline" in own.value:
        raise RecipeError(_problem(path, named, f"{found.name} is a pipeline itself; name its runs instead"))
    over = node.value.get("set")
    if over is not None and isinstance(over.value, dict):
        own = merge(own, over)
    if "track" in tree.value:
        own = merge(own, Node(value={"track": tree.value["track"]}, place=tree.place))
    words = [f"set: {shown(plain(over), 200)}"] if over is not None and over.value else []
    return validate(own, found, text_of(found), words, tables)


def _going_on(stages: Sequence[PipelineStage], listed: Node) -> tuple[list[PipelineStage], list[Problem]]:
    """Runs with `data.until_tokens` count from the pipeline's start: each goes on behind the one before."""
    made, problems, before = [], [], 0
    for stage in stages:
        until = stage.recipe.data.until_tokens
        if until is not None and until <= before:
            text = (
                f"data.until_tokens of {stage.name} is {until:,}, the run before has trained {before:,}; it must grow"
            )
            problems.append(_problem("pipeline", listed, text))
        if until is not None:
            data = replace(stage.recipe.data, skip_tokens=before)
            stage = replace(stage, recipe=replace(stage.recipe, data=data))
            before = until
        made.append(stage)
    return made, problems


def _differing_tasks(stages: Sequence[PipelineStage], listed: Node) -> list[Problem]:
    """Tasks of one name that are asked differently in two runs: their numbers would share a curve, and no pair."""
    problems, first = [], dict[str, tuple[str, Any]]()
    for stage in stages:
        section = stage.recipe.eval
        for spec in (*section.target, *section.retain):
            name, asked = spec.called, replace(spec, name="", goal="up", batch_tokens=1)
            if name in first and first[name][1] != asked:
                text = (
                    f"task {name!r} is asked differently in {first[name][0]} and in {stage.name}; ask it the same "
                    "way, or give one of them another name"
                )
                problems.append(_problem("pipeline", listed, text))
            first.setdefault(name, (stage.name, asked))
    return problems


def _problem(path: str, node: Node, text: str) -> Problem:
    return Problem(path=path, place=str(node.place), text=text)
