"""Names are no paths: whatever becomes a file's or a folder's name is refused with its place, or made one."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from data_mix import DataError
from data_mix.config import SourceSpec
from data_mix.names import is_name as is_source_name
from eval_hooks import CheckpointEval, EvalError
from eval_hooks.compare import compare
from eval_hooks.config import TaskSpec
from eval_hooks.files import checkpoints, evaluations, summary_of
from eval_hooks.names import alike, as_name, is_name
from eval_hooks.report import print_screen, write_report
from eval_hooks.variance import variance
from launch.cli import arrange
from launch.load import load, load_any
from launch.problems import RecipeError
from launch.reread import read_back
from tests.eval_hooks.runs import run_folder
from trainers import TrainError
from trainers.models import locate
from trainers.recipe import PipelineStage

SOUND = ["a", "sql-2", "mmlu.de", "c++", "_x", "grün", "名前", "+1", "x" * 100]
NOT_SOUND = ["", ".", "..", "../../x", "a/b", "a\\b", ".hidden", "-x", "a b", "a\nb", "a\x00b", "a\n", "[/b]", "$^$",
             "a\u202eb", "\ud800", "x" * 101, "é" * 51, "a:b", "~", "a|b", "\x1b]52;c;x\x07"]  # fmt: skip

RECIPE = """\
stage: sft
model: {{path: some/model}}
data:
  train:
    - {{source: curriculum, n: 4, name: {name}}}
  validation:
    - {{source: curriculum, n: 4, name: {name}}}
eval:
  target:
    - {{task: pocket, shots: 0, name: {name}}}
  retain:
    - {{task: verified, n: 4, name: {name}}}
"""


@pytest.mark.parametrize("name", NOT_SOUND)
def test_what_could_lead_elsewhere_is_no_name(name: str) -> None:
    assert not is_name(name) and not is_source_name(name)
    with pytest.raises(DataError, match="source name"):
        SourceSpec(source="sql", name=name)
    for refused in (lambda: CheckpointEval(tasks=[{"task": "pocket", "shots": 0, "name": name}]),
                    lambda: CheckpointEval(held_out={name: []})):  # fmt: skip
        if name:  # an empty one means the task's own
            with pytest.raises(EvalError, match="letters, digits"):
                refused()
    with pytest.raises(TrainError, match="run name"):
        PipelineStage(name=name, recipe=SimpleNamespace())  # type: ignore[arg-type]


@pytest.mark.parametrize("name", SOUND)
def test_words_of_any_language_are_names(name: str) -> None:
    assert is_name(name) and is_source_name(name) and as_name(name, "x") == name
    assert SourceSpec(name=name).name == TaskSpec(task="pocket", name=name).called == name


def test_a_recipes_names_are_refused_together_each_at_its_line(recipe: Callable[..., str]) -> None:
    with pytest.raises(RecipeError) as caught:
        load(recipe(RECIPE.format(name='"../../x"')))
    for place in ("run.yaml:5: data.train.0.name", "run.yaml:7: data.validation.0.name", "run.yaml:10: eval.target.0.name",
                  "run.yaml:12: eval.retain.0.name"):  # fmt: skip
        assert any(str(problem).endswith("at most 100 bytes") or "'../../x'" in str(problem)
                   for problem in caught.value.problems if place in str(problem)), place  # fmt: skip
    assert len(caught.value.problems) == 4
    text = RECIPE.replace("name: {name}", "name: ok", 1)
    with pytest.raises(RecipeError, match=r"data\.train\.0\.name"):
        load(recipe(text.format(name="fine")), ["data.train.0.name=a/b"])


def test_names_that_a_file_system_may_take_for_one_are_refused(recipe: Callable[..., str]) -> None:
    two = "stage: sft\nmodel: {path: m}\ndata:\n  train: [{source: sql, n: 4}, {source: sql, n: 4, name: SQL}]\n"
    with pytest.raises(RecipeError, match=r"data\.train\.1\.name: 'SQL': data\.train\.0 has that name too"):
        load(recipe(two))
    with pytest.raises(EvalError, match="two tasks are called"):
        CheckpointEval(tasks=["pocket"], retain=[{"task": "pocket", "name": "Pocket"}])
    assert alike(["a", "A", "b", "straße", "STRASSE"]) == ["A", "STRASSE"]


def test_a_task_takes_no_validation_sets_file(recipe: Callable[..., str]) -> None:
    with pytest.raises(EvalError, match=r"val\.NAME is a validation set's"):
        TaskSpec(task="pocket", name="val.held")
    with pytest.raises(RecipeError, match=r"eval\.retain\.0\.name: 'val\.sql': must be"):
        load(recipe(RECIPE.replace("name: {name}", "name: a", 3).format(name="val.sql")))


def test_a_harness_tasks_own_name_becomes_one_that_a_file_can_have() -> None:
    assert TaskSpec(task="lm_eval:my/task").called == "my-task"
    assert TaskSpec(task="lm_eval:../../x").called == "x"
    assert TaskSpec(task="lm_eval:..").called == "task"
    assert TaskSpec(task="lm_eval:arc_easy").called == "arc_easy"


@pytest.mark.parametrize(
    ("stem", "name"),
    [("a b", "a-b"), ("-x", "x"), (".hidden", "hidden"), (" ..", "run"), ("a\nb", "a-b"), ("$(touch x)", "touch-x"),
     ("é" * 80, "é" * 50), ("a;b", "a-b"), ("---", "run")],
)  # fmt: skip
def test_a_recipes_file_name_becomes_the_runs_name(stem: str, name: str, recipe: Callable[..., str]) -> None:
    sound = RECIPE.replace("name: {name}", "name: a", 3).format(name="b")
    assert load(recipe(sound, f"{stem}.yaml")).name == as_name(stem, "run") == name


def test_a_pipelines_runs_are_named_alike(recipe: Callable[..., str]) -> None:
    recipe(RECIPE.replace("name: {name}", "name: a", 3).format(name="b"), "tiny.yaml")
    for names, message in (
        (("../x",), r"pipeline\.0\.name: '\.\./x': letters"),
        (("a", "A"), "two runs are called 'A'"),
    ):
        stages = ", ".join(f'{{name: "{name}", recipe: tiny.yaml}}' for name in names)
        with pytest.raises(RecipeError, match=message):
            load_any(recipe(f"pipeline: [{stages}]\n", "all.yaml"))
    assert load_any(recipe("pipeline: [{name: v1.0+a, recipe: tiny.yaml}]\n", "my run.yaml")).name == "my-run"
    assert arrange(["train", "x", "--resume", "runs/x:v1.0+a"])[2:] == ["--resume=runs/x:v1.0+a"]


def test_names_in_somebodys_run_folder_lead_nowhere(tmp_path: Path) -> None:
    outside = tmp_path / "secret.parquet"
    outside.write_bytes(b"not yours")
    run, other = run_folder(tmp_path / "run"), run_folder(tmp_path / "other")
    summary = json.loads((run / "evals/step-20/summary.json").read_text("utf-8"))
    readers: list[Callable[[], object]] = [
        lambda: write_report(other),
        lambda: print_screen(other),
        lambda: variance([str(run), str(other)]),
        lambda: compare([str(run), str(other)], out=tmp_path / "out"),
    ]
    for name in ("../../../secret", "/etc/passwd", "a\x1b[2J"):
        hostile = {**summary, "tasks": {**summary["tasks"], name: summary["tasks"]["pocket"]}}
        (other / "evals/step-20/summary.json").write_text(json.dumps(hostile))
        for read in readers:
            with pytest.raises(EvalError, match=r"summary\.json: tasks: .* is no name"):
                read()
    assert outside.read_bytes() == b"not yours"


@pytest.mark.parametrize(
    "text", ["[1]", '{"tasks": []}', '{"tasks": {"a": 1}}', '{"tasks": {"a/b": {}}}', "{", "[" * 9999]
)
def test_a_summary_that_is_none_is_answered_with_its_file(text: str, tmp_path: Path) -> None:
    (tmp_path / "summary.json").write_text(text)
    with pytest.raises(EvalError, match=r"summary\.json"):
        summary_of(tmp_path)


def test_folders_that_only_look_like_a_step_are_passed_over(tmp_path: Path) -> None:
    for name in ("7", "x", "", "7-copy", "-7", "٣", "1e3", "007"):
        (tmp_path / "checkpoints" / f"checkpoint-{name}").mkdir(parents=True)
        (tmp_path / "evals" / f"step-{name}").mkdir(parents=True)
        (tmp_path / "evals" / f"step-{name}" / "summary.json").write_text("{}")
    assert list(checkpoints(tmp_path)) == list(evaluations(tmp_path)) == [7]
    with pytest.raises(TrainError, match="no checkpoint at step"):
        locate(f"{tmp_path}:7/../checkpoint-7")


def test_a_pipeline_read_back_from_a_run_folder_names_no_folder_elsewhere(
    recipe: Callable[..., str], tmp_path: Path
) -> None:
    recipe(RECIPE.replace("name: {name}", "name: a", 3).format(name="b"), "tiny.yaml")
    resolved = json.loads(json.dumps(load_any(recipe("pipeline: [{name: one, recipe: tiny.yaml}]\n", "all.yaml")).resolved,
                                     default=str))  # fmt: skip
    resolved["pipeline"][0]["name"] = "../../x"
    (tmp_path / "recipe.resolved.json").write_text(json.dumps(resolved))
    (tmp_path / "recipe.yaml").write_text("")
    with pytest.raises(TrainError, match="run name"):
        read_back(tmp_path)
    for broken in (
        {"name": 3},
        {**resolved, "pipeline": 3},
        {**resolved, "pipeline": []},
        {**resolved, "pipeline": [3]},
    ):
        (tmp_path / "recipe.resolved.json").write_text(json.dumps(broken))
        with pytest.raises(RecipeError, match="cannot be read back"):
            read_back(tmp_path)
