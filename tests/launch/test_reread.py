"""A recipe that is read back from a run folder asks what the run asked, wherever its file is now."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from eval_hooks.files import write_json
from launch import RecipeError
from launch.load import load, load_any
from launch.recipes import names
from launch.reread import read_back, watched
from trainers.recipe import Pipeline, Recipe
from trainers.rundir import write_recipe


def folder_of(recipe: Recipe | Pipeline, folder: Path) -> Path:
    """What a run writes of its recipe: with its arguments, which are no section."""
    folder.mkdir(parents=True)
    write_recipe(folder, recipe)
    write_json(folder / "recipe.resolved.json", {**recipe.resolved, "arguments": {"bf16": False}})
    return folder


def same(a: Recipe, b: Recipe) -> bool:
    """But for what a watcher does not read: the file's text, and how training is started."""
    plain = [
        replace(
            r, text="", overrides=(), resolved={}, deepspeed=None, launch=b.launch, data=replace(r.data, skip_tokens=0)
        )
        for r in (a, b)
    ]
    return plain[0] == plain[1]


@pytest.mark.parametrize("name", names())
def test_every_shipped_recipe_is_read_back(name: str, tmp_path: Path) -> None:
    before = load_any(name)
    after = read_back(folder_of(before, tmp_path / "run"))
    if isinstance(before, Recipe):
        assert isinstance(after, Recipe) and same(before, after)
        return
    assert isinstance(after, Pipeline)
    assert [stage.name for stage in after.stages] == [stage.name for stage in before.stages]
    assert all(same(a.recipe, b.recipe) for a, b in zip(before.stages, after.stages, strict=True))


def test_plugins_are_read_back_too(tmp_path: Path) -> None:
    """The task is one of a plugin, whose file the recipe names relative to itself."""
    (tmp_path / "mine.py").write_text(
        "from eval_hooks.catalog import Task\n"
        "TASKS = {'quiz_of_mine': Task(kind='choice', about='', load=lambda spec: None)}\n"
    )
    (tmp_path / "mine.yaml").write_text(
        "extends: smoke/sft\nplugins: [./mine.py]\neval: {target: [], retain: [{task: quiz_of_mine, shots: 0}]}\n"
    )
    recipe = load(str(tmp_path / "mine.yaml"))
    assert json.loads(json.dumps(recipe.resolved))["plugins"] == [str(tmp_path / "mine.py")]
    after = read_back(folder_of(recipe, tmp_path / "elsewhere" / "run"), trust=True)
    assert isinstance(after, Recipe) and after.eval.retain[0].task == "quiz_of_mine"


def test_a_word_holds_for_every_run_of_a_pipeline(tmp_path: Path) -> None:
    folder = folder_of(load_any("pipelines/learn-then-unlearn"), tmp_path / "run")
    second = "{task: pocket, name: second, variant: lm_eval, shots: 0}"
    _, pipeline = watched(str(folder), [f"eval.retain=[{second}]"])
    assert isinstance(pipeline, Pipeline)
    assert [[spec.name for spec in stage.recipe.eval.retain] for stage in pipeline.stages] == [["second"], ["second"]]


def test_a_run_is_found_by_its_name_and_what_is_none_is_refused(tmp_path: Path) -> None:
    folder_of(load("smoke/sft"), tmp_path / "mine")
    assert watched("mine", runs=tmp_path)[0] == tmp_path / "mine"
    with pytest.raises(RecipeError, match="watch other: no run folder"):
        watched("other", runs=tmp_path)
