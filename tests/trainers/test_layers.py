"""Which of two wins that say a value of `train:`, pair by pair; what wins over neither is refused, or said aloud."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from launch import RecipeError
from launch.load import load, load_any
from trainers.arguments import setting, training_arguments
from trainers.catalog import METHODS
from trainers.recipe import Pipeline, Recipe, WandbSection
from trainers.tracking import overruled

Load = Callable[..., Recipe]


@pytest.fixture
def row(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Gives the method nll defaults, and arguments that make it what it is."""

    def give(trl: dict[str, Any] | None = None, **defaults: Any) -> None:
        found = replace(METHODS["nll"], defaults=defaults, trl={**METHODS["nll"].trl, **(trl or {})})
        monkeypatch.setitem(METHODS, "nll", found)

    yield give


def steps(recipe: Recipe) -> float:
    return training_arguments(recipe).logging_steps


def test_each_layer_wins_over_the_one_below(recipe_file: Path, row: Callable[..., None]) -> None:
    """logging_steps: 500 of transformers < 1 of the run < 3 of the row < 4 of a base < 5 of the file < 6 < 7 of words."""
    text = recipe_file.read_text().replace("logging_steps: 1, ", "")
    recipe_file.write_text(text)
    assert steps(load(str(recipe_file))) == 1
    row(logging_steps=3)
    assert steps(load(str(recipe_file))) == setting(load(str(recipe_file)), "logging_steps") == 3
    recipe_file.write_text(text.replace("train: {", "train: {logging_steps: 4, "))
    over = recipe_file.parent / "over.yaml"
    over.write_text("extends: tiny.yaml\n")
    assert steps(load(str(over))) == 4
    over.write_text("extends: tiny.yaml\ntrain: {logging_steps: 5}\n")
    assert steps(load(str(over))) == 5
    assert steps(load(str(over), ["train.logging_steps=6"])) == 6
    assert steps(load(str(over), ["train.logging_steps=6", "train.logging_steps=7"])) == 7


def test_a_rows_word_on_the_device_and_on_memory_wins_over_the_machines(recipe: Load, row: Callable[..., None]) -> None:
    row(activation_checkpointing=True, save_strategy="no")
    made = training_arguments(recipe("eval.every=2"))
    assert (made.activation_checkpointing, made.save_strategy) == (True, "no")


def test_a_pipelines_set_and_its_track_win_over_a_runs_own(recipe_file: Path) -> None:
    (recipe_file.parent / "both.yaml").write_text(
        "pipeline: [{name: a, recipe: tiny.yaml, set: {train: {logging_steps: 9}}}, {name: b, recipe: tiny.yaml}]\n"
        "track: {wandb: {project: mine}}\n"
    )
    made = load_any(str(recipe_file.parent / "both.yaml"))
    assert isinstance(made, Pipeline)
    assert [steps(stage.recipe) for stage in made.stages] == [9, 1]
    assert {stage.recipe.wandb.project for stage in made.stages if stage.recipe.wandb} == {"mine"}


def test_what_makes_a_row_the_method_is_refused_in_a_recipe(recipe: Load, row: Callable[..., None]) -> None:
    row(trl={"neftune_noise_alpha": 5.0})
    assert training_arguments(recipe()).neftune_noise_alpha == 5.0
    with pytest.raises(RecipeError, match=r"train.neftune_noise_alpha: not set here; it is 5.0 in this method"):
        recipe("train.neftune_noise_alpha=1.0")


def test_a_deepspeed_file_is_held_against_what_the_row_sets(
    recipe: Load, row: Callable[..., None], tmp_path: Path
) -> None:
    """1.0 is transformers' own clipping, and would pass for it; the row's is 0.2."""
    (tmp_path / "mine.json").write_text(json.dumps({"zero_optimization": {"stage": 2}, "gradient_clipping": 1.0}))
    assert recipe("deepspeed=mine.json").deepspeed
    row(max_grad_norm=0.2)
    with pytest.raises(
        RecipeError, match=r"gradient_clipping is 1.0, train.max_grad_norm is 0.2 \(the default of the m"
    ):
        recipe("deepspeed=mine.json")
    assert recipe("deepspeed=mine.json", "train.max_grad_norm=1.0").deepspeed


def test_both_lengths_of_a_streamed_mix_are_named(recipe: Load) -> None:
    words = ("data.until_tokens=500", "train.num_train_epochs=2")
    with pytest.raises(ValueError, match=r"train.max_steps, train.num_train_epochs: data.until_tokens says"):
        training_arguments(recipe(*words))


def test_a_variable_that_wins_over_the_recipes_tracking_is_said() -> None:
    """What the recipe leaves open is nobody's word, and the same word is no other."""
    section = WandbSection(project="mine", group="g", tags=("a", "b"))
    said = {
        "WANDB_PROJECT": "theirs",
        "WANDB_RUN_GROUP": "g",
        "WANDB_NAME": "n",
        "WANDB_TAGS": "c",
        "WANDB_MODE": "online",
    }
    assert overruled(section, said) == [
        "WANDB_PROJECT=theirs wins over track.wandb.project: mine", "WANDB_TAGS=c wins over track.wandb.tags: a,b",
    ]  # fmt: skip
