"""The command line: as a person types it and as launchers do."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import trainers.run
from data_mix import DataError
from eval_hooks import EvalError
from launch import RecipeError
from launch.cli import app, arrange
from launch.request import evaluation, forked
from launch.tables import Tables
from tests.eval_hooks.runs import run_folder
from trainers import TrainError
from trainers.recipe import Recipe

ROOT = Path(__file__).parents[2]


def temper(*words: str, **env: str) -> subprocess.CompletedProcess[str]:
    """`python -m launch` in a process of its own."""
    command = [sys.executable, "-m", "launch", *words]
    return subprocess.run(command, cwd=ROOT, env={**os.environ, **env}, capture_output=True, text=True, check=False)


def test_help_imports_nothing_heavy() -> None:
    """Not seconds but modules: what makes `temper --help` slow is an import of torch and its kind, or of rich."""
    code = (
        "import sys; from launch.cli import main; sys.argv = ['temper', '--help']\n"
        "try: main()\n"
        "except SystemExit: print(','.join({m.partition('.')[0] for m in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.splitlines()[-1].split(","))
    heavy = {
        "torch",
        "transformers",
        "trl",
        "peft",
        "datasets",
        "pydantic",
        "numpy",
        "yaml",
        "rich",
        "trainers",
        "wandb",
    }
    assert "typer" in loaded
    assert not loaded & heavy


def test_alone_it_shows_help_and_each_command_has_an_example() -> None:
    alone = temper()
    assert alone.returncode == 0
    commands = "train launch check data eval watch compare variance report dashboard fetch schema list doctor"
    for command in commands.split():
        assert f"\n  {command} " in alone.stdout
        shown = CliRunner().invoke(app, [command, "--help"], prog_name="temper")
        assert shown.exit_code == 0
        assert f"\n  temper {command} " in shown.output


@pytest.mark.parametrize(
    ("typed", "taken"),
    [
        (["train", "r", "--resume"], ["train", "r", "--resume=newest"]),
        (["train", "r", "--resume", "a.b=1"], ["train", "r", "--resume=newest", "a.b=1"]),
        (["train", "r", "--resume", "--dry-run"], ["train", "r", "--resume=newest", "--dry-run"]),
        (["train", "r", "--resume", "runs/q:30", "a.b=1"], ["train", "r", "--resume=runs/q:30", "a.b=1"]),
        (["train", "--resume=runs/q:30", "r"], ["train", "--resume=runs/q:30", "r"]),
        (["launch", "r", "--resume", "--nproc", "2"], ["launch", "r", "--resume=newest", "--nproc", "2"]),
        (["train", "r", "model.path=q:30", "--resume"], ["train", "r", "model.path=q:30", "--resume=newest"]),
        (["train", "--resume", "model.path=q:30"], ["train", "--resume=newest", "model.path=q:30"]),
        (
            ["compare", "--seeds", "a", "b:3", "--against", "c", "d", "--task", "t"],
            ["compare", "--seeds=a", "--seeds=b:3", "--against=c", "--against=d", "--task", "t"],
        ),
        (["compare", "--against=c", "--seeds", "--out", "o"], ["compare", "--against=c", "--seeds", "--out", "o"]),
        (["eval", "m", "--seeds", "a", "b"], ["eval", "m", "--seeds", "a", "b"]),
        (["--local_rank=1", "train", "r"], ["train", "r"]),
        (["train", "--local_rank", "1", "r"], ["train", "r"]),
        (["train", "r", "--local-rank", "0"], ["train", "r"]),
        ([], ["--help"]),
    ],
)
def test_the_words_that_typer_cannot_take_are_arranged(typed: list[str], taken: list[str]) -> None:
    assert arrange(typed) == taken


def test_a_dry_run_prints_the_plan_and_trains_nothing() -> None:
    done = CliRunner().invoke(
        app, ["train", "quickstart", "train.max_steps=10", "eval.every=0.5", "track.tensorboard=true", "--dry-run"]
    )
    assert done.exit_code == 0
    assert "10 steps, 8 rows a step" in done.output
    assert "at steps 0, 5, 10" in done.output
    assert "target sql" in done.output
    assert "metrics.jsonl, W&B offline in project tempering, TensorBoard" in done.output
    assert "retain pocket" in done.output


def test_a_wrong_recipe_ends_with_2_and_no_traceback() -> None:
    done = temper("train", "quickstart", "train.max_step=3", "method.nam=x", "--dry-run")
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 2
    assert "did you mean 'max_steps'?" in done.stderr
    assert "Traceback" not in done.stderr


def test_ranks_other_than_the_first_print_nothing() -> None:
    done = temper("--local_rank=1", "train", "quickstart", "--dry-run", RANK="1")
    assert done.returncode == 0
    assert done.stdout == ""


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], list[dict[str, Any]]]:
    """Replaces the training behind the command by something that ends at once; returns how it was called."""

    def ends_with(outcome: Any) -> list[dict[str, Any]]:
        calls: list[dict[str, Any]] = []

        def train(recipe: Recipe, **how: Any) -> int:
            calls.append({"recipe": recipe, **how})
            if isinstance(outcome, BaseException):
                raise outcome
            return int(outcome)

        monkeypatch.setattr(trainers.run, "train", train)
        return calls

    return ends_with


@pytest.mark.parametrize("code", [0, 3, 4])
def test_the_runs_exit_code_is_the_commands(code: int, runs: Callable[[Any], list[dict[str, Any]]]) -> None:
    calls = runs(code)
    done = CliRunner().invoke(app, ["train", "quickstart", "--run-dir", "x"])
    assert done.exit_code == code
    assert calls[0]["recipe"].name == "quickstart"
    assert calls[0]["run_dir"] == Path("x")
    assert calls[0]["resume"] is False


@pytest.mark.parametrize("kind", [RecipeError, DataError, EvalError, TrainError])
def test_what_a_person_did_wrong_ends_with_2_and_the_message(
    kind: type[ValueError], runs: Callable[[Any], list[dict[str, Any]]]
) -> None:
    runs(kind("rows.jsonl:3: not JSON"))
    done = CliRunner().invoke(app, ["train", "quickstart"])
    assert done.exit_code == 2
    assert done.stderr == "rows.jsonl:3: not JSON\n"


def test_an_unexpected_error_keeps_its_traceback(runs: Callable[[Any], list[dict[str, Any]]]) -> None:
    runs(ZeroDivisionError("surprise"))
    done = CliRunner().invoke(app, ["train", "quickstart"])
    assert done.exit_code == 1
    assert isinstance(done.exception, ZeroDivisionError)


def test_an_interrupt_ends_with_130(runs: Callable[[Any], list[dict[str, Any]]]) -> None:
    runs(KeyboardInterrupt())
    assert CliRunner().invoke(app, ["train", "quickstart"]).exit_code == 130


def test_a_usage_error_ends_with_2() -> None:
    assert CliRunner().invoke(app, ["train"]).exit_code == 2
    assert CliRunner().invoke(app, ["list", "nothing"]).exit_code == 2
    assert CliRunner().invoke(app, ["trian"]).exit_code == 2


@pytest.mark.parametrize("kind", ["recipes", "methods", "tasks", "sources"])
def test_the_catalogs_are_listed_with_a_line_about_each(kind: str) -> None:
    done = CliRunner().invoke(app, ["list", kind])
    assert done.exit_code == 0
    assert all(len(line.split()) > 1 for line in done.output.splitlines())


def test_the_schema_goes_to_the_terminal_or_a_file(tmp_path: Path) -> None:
    file = tmp_path / "schema.json"
    assert CliRunner().invoke(app, ["schema", "--out", str(file)]).exit_code == 0
    assert json.loads(CliRunner().invoke(app, ["schema"]).output) == json.loads(file.read_text("utf-8"))
    assert CliRunner().invoke(app, ["schema", "--out", str(tmp_path / "no" / "x.json")]).exit_code == 2


def test_one_evaluation_is_typed_from_the_command_line(tables: Tables) -> None:
    options = {"variant": "olmes_cf", "shots": 0, "limit": 5, "path": None}
    model, spec = evaluation("some/model", "quiz", options, ["model.dtype=float32", "subjects=[anatomy]"], tables)
    assert (model.path, model.dtype) == ("some/model", "float32")
    assert (spec.task, spec.name, spec.variant, spec.shots, spec.limit) == ("quiz", "quiz", "olmes_cf", 0, 5)
    assert spec.subjects == ("anatomy",)
    assert spec.path is None


def test_a_wrong_evaluation_names_all_problems(tables: Tables) -> None:
    with pytest.raises(RecipeError) as caught:
        evaluation("m", "quiz", {"shots": -1}, ["model.dtpe=x", "shot=3"], tables)
    assert {problem.path for problem in caught.value.problems} == {"task.shots", "model.dtpe", "task.shot"}


def test_runs_are_compared_and_their_seeds_spread_from_the_command_line(tmp_path: Path) -> None:
    a, b = (str(run_folder(tmp_path / name, skill=skill)) for name, skill in (("a", 2.0), ("b", 1.0)))
    out = ["--out", str(tmp_path / "out")]
    done = CliRunner().invoke(app, ["compare", a, f"{a}:0", b, "--base", b, "--task", "pocket", *out])
    assert done.exit_code == 0, done.output
    kept = json.loads((tmp_path / "out" / "compare.json").read_text())
    assert [model["step"] for model in kept["models"]] == [20, 20, 0]
    assert {pair["task"] for pair in kept["pairs"]} == {"pocket"}
    spread = ["variance", a, b, "--task", "pocket", "--metric", "p_gold", "--ci", "bootstrap", "--n-boot", "200", *out]
    done = CliRunner().invoke(app, spread)
    assert done.exit_code == 0, done.output
    found = json.loads((tmp_path / "out" / "variance.json").read_text())["metrics"]
    assert [(one["task"], one["metric"]) for one in found] == [("pocket", "p_gold")]
    gate = ["compare", a, a, "--task", "pocket", *out, "--fail-on"]
    assert [CliRunner().invoke(app, [*gate, words]).exit_code for words in ("dropped", "dropped,undecided")] == [0, 1]
    decision = json.loads((tmp_path / "out" / "compare.json").read_text())["decision"]
    assert decision["failed"] and decision["reasons"][0].startswith("pocket: B undecided against A: +0.0 points")
    wrong = CliRunner().invoke(app, [*gate, "lost"])
    assert wrong.exit_code == 2 and "there are: dropped, undecided, gained" in wrong.output
    assert "--fail-on dropped" in CliRunner().invoke(app, ["compare", "--help"]).output
    for words in (["compare", a], ["variance", a], ["compare", a, "none"], ["variance", a, "none"], ["compare"]):
        assert CliRunner().invoke(app, words).exit_code == 2


def test_two_recipes_are_compared_over_seeds_from_the_command_line(tmp_path: Path) -> None:
    runs = [str(run_folder(tmp_path / name)) for name in "abcd"]
    words = [
        "compare",
        "--seeds",
        *runs[:2],
        "--against",
        *runs[2:],
        "--task",
        "pocket",
        "--out",
        str(tmp_path / "out"),
    ]
    done = CliRunner().invoke(app, arrange(words))
    assert done.exit_code == 0, done.output
    assert json.loads((tmp_path / "out" / "compare-seeds.json").read_text())["tasks"][0]["task"] == "pocket"
    for wrong in (
        ["--seeds", *runs[:2]],
        ["--against", *runs[:2]],
        [runs[0], "--seeds", *runs[:2], "--against", *runs[2:]],
        ["--seeds", *runs[:2], "--against", *runs[2:], "--base", runs[0]],
        ["--seeds", runs[0], "--against", *runs[2:]],
    ):
        done = CliRunner().invoke(app, arrange(["compare", *wrong]))
        assert done.exit_code == 2 and done.output.startswith(("compare", "--seeds"))


def test_resume_with_a_step_means_a_new_run_from_there(tmp_path: Path) -> None:
    (tmp_path / "runs" / "q").mkdir(parents=True)
    runs = tmp_path / "runs"
    assert forked("newest", runs) is None
    assert forked("q:30", runs) == forked(f"{runs}/q:30", runs) == (runs / "q", 30)
    for word, part in (("p:5", "no run folder 'p'"), ("q", "RUN:STEP")):
        with pytest.raises(RecipeError) as caught:
            forked(word, runs)
        assert part in str(caught.value)


def test_a_dashboard_is_printed_for_a_run_folder_and_refused_where_there_is_none(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run", skill=-1.0)
    shown = CliRunner().invoke(app, ["dashboard", str(folder), "--print"])
    assert shown.exit_code == 0
    names = [part["name"] for part in json.loads(shown.output)["section"]["panelBankConfig"]["sections"]]
    assert names == ["Target", "Retention", "Calibration", "Training"]
    none = CliRunner().invoke(app, ["dashboard", "nothing-there"])
    assert none.exit_code == 2
    assert "no run folder" in none.output and "ENTITY/PROJECT" in none.output


def test_a_dashboard_without_a_login_ends_with_2_and_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    for where in (str(run_folder(tmp_path / "run")), "me/mine"):
        done = CliRunner().invoke(app, ["dashboard", where])
        assert done.exit_code == 2
        assert "wandb login" in done.output and "--print" in done.output


def test_lm_evals_tasks_are_named_after_a_colon_and_have_keys_of_their_own() -> None:
    words = ["include_path=./tasks", "metric=acc_norm", "fewshot_as_multiturn=false"]
    _, spec = evaluation("tiny", "lm_eval:arc_easy", {"shots": 0, "limit": 3}, words)
    assert (spec.task, spec.called, spec.shots, spec.limit) == ("lm_eval:arc_easy", "arc_easy", 0, 3)
    assert (spec.include_path, spec.metric, spec.fewshot_as_multiturn) == (
        str(Path("tasks").resolve()),
        "acc_norm",
        False,
    )
    assert evaluation("tiny", "lm_eval:arc_easy", {})[1].shots is None
    with pytest.raises(RecipeError) as caught:
        evaluation("tiny", "lm_eval:arc_easy", {"variant": "olmes_cf", "path": "./x"}, ["splt=test"])
    assert {problem.path for problem in caught.value.problems} == {"task.variant", "task.path", "task.splt"}
    for task, more in (("lm_eval", {}), ("mmlu:anatomy", {}), ("pocket", {"metric": "acc"})):
        with pytest.raises(RecipeError, match="lm_eval:NAME|scores options and does not read it"):
            evaluation("tiny", task, {}, [f"{key}={value}" for key, value in more.items()])
