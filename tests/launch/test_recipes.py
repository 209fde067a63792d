"""The shipped recipes: found by bare name, loaded, valid against the schema."""

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator, ValidationError

from launch import RecipeError
from launch.load import load, load_any
from launch.nodes import parse, plain
from launch.plan import evaluation_times, plan
from launch.recipes import about, find_recipe, list_recipes, names, recipes_dir
from launch.schema import recipe_schema
from trainers.recipe import Pipeline


@pytest.fixture(scope="module")
def schema() -> dict[str, object]:
    return recipe_schema()


@pytest.fixture(scope="module")
def valid(schema: dict[str, object]) -> Draft202012Validator:
    """The schema, made ready once: that takes a second."""
    return Draft202012Validator(schema)


@pytest.mark.parametrize("name", names())
def test_every_shipped_recipe_loads_plans_and_validates(name: str, valid: Draft202012Validator) -> None:
    made = load_any(name)
    runs = [run.recipe for run in made.stages] if isinstance(made, Pipeline) else [made]
    assert all(run.stage in plan(made) for run in runs)
    written = parse(find_recipe(name).read_text("utf-8"))
    assert written is not None
    valid.validate(plain(written))
    assert about(find_recipe(name))


@pytest.mark.parametrize("name", names())
def test_every_shipped_recipe_names_the_schema_for_editors(name: str) -> None:
    file = find_recipe(name)
    first = file.read_text("utf-8").splitlines()[0]
    assert first.startswith("# yaml-language-server: $schema=")
    assert (file.parent / first.partition("=")[2]).resolve() == recipes_dir() / "schema.json"


@pytest.mark.parametrize("name", names())
def test_a_resolved_recipe_validates_too(name: str, valid: Draft202012Validator) -> None:
    """The complete form is a recipe as well: every default is a value the schema allows."""
    made = load_any(name)
    for run in [run.recipe for run in made.stages] if isinstance(made, Pipeline) else [made]:
        resolved = {key: value for key, value in run.resolved.items() if key not in ("name", "file", "overrides")}
        valid.validate(json.loads(json.dumps(resolved)))


def test_the_schema_in_the_repository_is_up_to_date(schema: dict[str, object]) -> None:
    written = json.loads((recipes_dir() / "schema.json").read_text("utf-8"))
    assert written == json.loads(json.dumps(schema)), "run: temper schema --out recipes/schema.json"


def test_the_schema_is_a_schema(schema: dict[str, object]) -> None:
    Draft202012Validator.check_schema(schema)


BASE = {"stage": "sft", "model": {"path": "x"}, "data": {"train": [{"source": "sql"}]}}


@pytest.mark.parametrize(
    "change",
    [
        {"stge": "sft"},
        {"stage": "sftt"},
        {"model": {"pth": "x"}},
        {"model": {"path": "x", "dtype": "float23"}},
        {"train": {"max_step": 3}},
        {"train": {"max_steps": "sixty"}},
        {"train": {"output_dir": "x"}},
        {"train": {"lr_scheduler_type": "cosin"}},
        {"method": {"name": "unheard_of"}},
        {"method": {"name": "instruction_modelling", "prompt_weight": 1}},
        {"data": {"train": [{"source": "sqll"}]}},
        {"data": {"train": [{"source": "sql", "m": 3}]}},
        {"data": {"train": [{"source": "jsonl"}]}},
        {"data": {"train": [{"from": "train", "fraction": 0.1}]}},
        {"eval": {"retain": [{"task": "pockett"}]}},
        {"eval": {"retain": [{"task": "pocket", "max_new_tokens": 3}]}},
        {"adapter": {"kind": "lora", "task_type": "CAUSAL_LM"}},
    ],
    ids=str,
)
def test_the_schema_refuses_what_loading_refuses(
    change: dict[str, object], valid: Draft202012Validator, tmp_path: Path
) -> None:
    valid.validate(BASE)
    with pytest.raises(ValidationError):
        valid.validate({**BASE, **change})
    file = tmp_path / "run.yaml"
    file.write_text(json.dumps({**BASE, **change}), "utf-8")
    with pytest.raises(RecipeError):
        load(str(file))


def test_a_bare_name_works_from_any_folder_and_a_file_beside_you_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_recipe("quickstart") == find_recipe("quickstart.yaml") == recipes_dir() / "quickstart.yaml"
    assert find_recipe("sft/forgetful").name == "forgetful.yaml"
    (tmp_path / "quickstart.yaml").write_text("stage: sft", "utf-8")
    assert find_recipe("quickstart.yaml") == (tmp_path / "quickstart.yaml").resolve()


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("quikstart", "did you mean 'quickstart'?"),
        ("forgetful", "did you mean 'sft/forgetful'?"),
        ("./none.yaml", "no such file"),
        ("../pyproject", "no such file"),
    ],
)
def test_an_unknown_recipe_is_answered_with_the_nearest_name(name: str, part: str) -> None:
    with pytest.raises(RecipeError, match="recipe ") as caught:
        find_recipe(name)
    assert part in str(caught.value)


def test_a_folder_is_no_recipe(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="a folder"):
        find_recipe(str(tmp_path))


def test_the_list_says_what_each_recipe_is() -> None:
    assert all(list_recipes().values())
    assert not any(name.startswith("deepspeed") for name in list_recipes())


@pytest.mark.parametrize(
    ("every", "steps", "words"),
    [
        (30, 60, "steps 0, 30, 60"),
        (25, 60, "steps 0, 25, 50, 60"),
        (0.5, 60, "steps 0, 30, 60"),
        (None, 60, "step 0 and the end"),
        ("epoch", -1, "step 0, after each epoch and the end"),
        (30, -1, "step 0, every 30 steps and the end"),
        (0.25, -1, "step 0, every 25% of the run and the end"),
        (1, 100, "step 0, every 1 of 100 steps and the end"),
    ],
)
def test_the_plan_says_when_the_model_is_measured(every: int | float | str | None, steps: int, words: str) -> None:
    assert evaluation_times(every, steps) == words


def test_every_method_has_a_recipe_that_runs_it() -> None:
    from trainers.catalog import METHODS

    made = [load_any(name) for name in names()]
    runs = [run.recipe for m in made if isinstance(m, Pipeline) for run in m.stages]
    runs += [m for m in made if not isinstance(m, Pipeline)]
    assert {run.method.name for run in runs} == set(METHODS)
