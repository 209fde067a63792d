"""Code of somebody else's runs when it was asked for, after its path was said, and never from a stranger's folder."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from launch.certified import checkpoint_of
from launch.cli import app
from launch.code import code_in
from launch.load import load, load_any
from launch.plugins import KINDS, _table
from launch.problems import RecipeError
from launch.reread import read_back, watched
from trainers import TrainError
from trainers.checkpoints.ownership import check_own
from trainers.recipe import Pipeline, Recipe

PLUGIN = """\
from pathlib import Path
from eval_hooks.catalog import Task
Path(__file__).with_suffix(".ran").touch()
TASKS = {"quiz_of_plugin": Task(kind="choice", about="", load=lambda spec: None)}
"""


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    """A plugin that leaves a file when it runs."""
    file = tmp_path / "mine.py"
    file.write_text(PLUGIN)
    return file


@pytest.fixture
def mine(tmp_path: Path, plugin: Path) -> Callable[..., str]:
    """A recipe with that plugin: more of it as lines."""

    def write(more: str = "eval: {target: [], retain: [{task: quiz_of_plugin, shots: 0}]}") -> str:
        file = tmp_path / "mine.yaml"
        file.write_text(f"extends: smoke/sft\nplugins: [./mine.py]\n{more}\n")
        return str(file)

    return write


@pytest.fixture(autouse=True)
def own_tables() -> Iterator[None]:
    """A plugin's rows join the packages' tables: they are as before afterwards."""
    before = {kind: dict(_table(kind)) for kind in KINDS}
    yield
    for kind, rows in before.items():
        for name in _table(kind).keys() - rows.keys():
            del _table(kind)[name]


def ran(plugin: Path) -> bool:
    return plugin.with_suffix(".ran").exists()


@pytest.mark.parametrize("wrong", [
    "train: {max_stepz: 1}",
    "model: {dtype: float8}",
    "data: {train: [{source: jsonl, path: x.jsonl, weight: -1}]}",
    "method: {name: nll, betta: 1}",
    "eval: {retain: [{task: quiz_of_plugin, shotz: 0}]}\nlaunch: {nproc: 0}",
    "nonsense: 1",
    "stage: sftt",
])  # fmt: skip
def test_no_plugin_runs_while_anything_else_is_wrong(mine: Callable[..., str], plugin: Path, wrong: str) -> None:
    with pytest.raises(RecipeError):
        load_any(mine(wrong))
    assert not ran(plugin)


def test_names_that_a_plugin_may_bring_are_no_problem_before_it_runs(mine: Callable[..., str], plugin: Path) -> None:
    """A method, a source, a task and a verifier: the plugin runs, and what it does not bring is refused then."""
    more = ("method: {name: of_mine, scale: 0.5}\ndata: {train: [{source: of_mine, size: 3}]}\n"
            "eval: {target: [{task: verified, source: of_mine, verifier: of_mine}], retain: [{task: quiz_of_plugin, "
            "shots: 0}]}")  # fmt: skip
    with pytest.raises(RecipeError) as raised:
        load_any(mine(more))
    assert ran(plugin)
    assert "'of_mine': no such name" in str(raised.value) and "no such source" in str(raised.value)
    assert "quiz_of_plugin" not in str(raised.value)


def test_a_plugins_path_is_said_before_it_runs(
    mine: Callable[..., str], plugin: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plugin.write_text("import sys\nprint('I ran', file=sys.stderr)\n" + PLUGIN)
    load(mine())
    said = capsys.readouterr().err
    assert said.index(f"plugin    {plugin}") < said.index("I ran")


def test_a_plugin_may_be_a_link_and_its_name_ends_in_py(mine: Callable[..., str], plugin: Path) -> None:
    plugin.rename(plugin.with_name("1f2e"))
    plugin.symlink_to("1f2e")
    load(mine())
    assert ran(plugin)
    with pytest.raises(RecipeError, match=r"1f2e': a plugin's name must end in \.py"):
        load(mine(), [f"plugins=[{plugin.with_name('1f2e')}]"])


@pytest.mark.parametrize("command", [
    ["train", "--dry-run"], ["train"], ["check"], ["plan"], ["data"], ["drill"], ["launch", "--print", "--nproc", "1"],
    ["launch", "--nproc", "1"],
])  # fmt: skip
def test_no_command_runs_a_plugin_with_no_plugins(
    mine: Callable[..., str], plugin: Path, command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What needs its rows is refused, whatever the command."""
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, [*command, mine(), "--no-plugins"])
    assert done.exit_code == 2 and "'quiz_of_plugin': no such task" in done.output, done.output
    assert not ran(plugin)


def test_without_its_plugins_a_recipe_that_does_not_need_them_is_the_same(
    mine: Callable[..., str], plugin: Path
) -> None:
    recipe = load(mine("train: {max_steps: 3}"), plugins=False)
    assert recipe.train["max_steps"] == 3 and "plugins" not in recipe.resolved and not ran(plugin)


@pytest.mark.parametrize("code", [
    "model.trust_remote_code=true",
    "model.attn_implementation=some/kernel",
    "eval.retain=[{task: 'lm_eval:mine', include_path: .}]",
])  # fmt: skip
def test_no_plugins_refuses_other_code_and_else_it_is_said(code: str, capsys: pytest.CaptureFixture[str]) -> None:
    key = code.partition("=")[0]
    with pytest.raises(RecipeError, match=f"--no-plugins: {key}"):
        load("smoke/sft", [code], plugins=False)
    load("smoke/sft", [code])
    assert f"code      {key}" in capsys.readouterr().err


def test_shipped_recipes_run_nobodys_code() -> None:
    from launch.recipes import names

    assert not [found for name in names() for found in code_in(load_any(name).resolved)]


def folder_of(recipe: Recipe | Pipeline, folder: Path, **changed: Any) -> Path:
    """The files of a run folder that its recipe is read back from, as a stranger may have written them."""
    checkpoint = folder / "checkpoints" / "checkpoint-2"
    checkpoint.mkdir(parents=True)
    whole = json.loads(json.dumps(recipe.resolved, default=str))
    (folder / "recipe.resolved.json").write_text(json.dumps({**whole, **changed}))
    (folder / "recipe.yaml").write_text(recipe.text)
    return folder


def strangers(folder: Path, plugin: Path) -> dict[str, Path]:
    """Run folders that would run code: by a plugin, by the model's own code, by an lm-eval task, in a pipeline."""
    sft, both = load("smoke/sft"), load_any("pipelines/learn-then-unlearn")
    trusting = {**sft.resolved["model"], "trust_remote_code": True}
    task = {"task": "lm_eval:x", "name": "x", "include_path": str(plugin.parent)}
    stages = [{**one, "model": {**one["model"], "trust_remote_code": True}} for one in both.resolved["pipeline"]]
    return {
        "plugins": folder_of(sft, folder / "a", plugins=[str(plugin)]),
        "model.trust_remote_code": folder_of(sft, folder / "b", model=trusting),
        "eval.retain.0.include_path": folder_of(sft, folder / "c", eval={**sft.resolved["eval"], "retain": [task]}),
        "pipeline.0.model.trust_remote_code": folder_of(both, folder / "d", pipeline=stages),
    }


def test_a_strangers_folder_runs_nothing_without_trust(tmp_path: Path, plugin: Path) -> None:
    """watch, certify and export: the file is named, and the key; with --trust it is taken."""
    for key, folder in strangers(tmp_path / "runs", plugin).items():
        message = f"{folder}/recipe.resolved.json: asks for {key}.*add --trust"
        with pytest.raises(RecipeError, match=message):
            watched(str(folder))
        if not key.startswith("pipeline"):
            with pytest.raises(RecipeError, match=message):
                checkpoint_of(str(folder / "checkpoints" / "checkpoint-2"))
    assert not ran(plugin)
    assert all(read_back(folder, trust=True) for folder in (tmp_path / "runs").iterdir())
    assert ran(plugin)


def test_a_word_of_ones_own_decides(tmp_path: Path, plugin: Path) -> None:
    folder = strangers(tmp_path / "runs", plugin)["model.trust_remote_code"]
    _, recipe = watched(str(folder), ["model.trust_remote_code=false"])
    assert isinstance(recipe, Recipe) and not recipe.model.trust_remote_code


@pytest.mark.parametrize("command", [["watch", "--once"], ["certify"], ["export", "--to", "out"]])
def test_the_commands_end_with_a_sentence(
    tmp_path: Path, plugin: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = strangers(tmp_path / "runs", plugin)["plugins"]
    what = str(folder) if command[0] == "watch" else f"{folder}:2"
    done = CliRunner().invoke(app, [command[0], what, *command[1:]])
    assert done.exit_code == 2 and "asks for plugins" in done.output and not ran(plugin), done.output


def sharded(run: Path) -> Path:
    """A run folder with DeepSpeed's shards at step 2."""
    shard = run / "checkpoints" / "checkpoint-2" / "global_step2" / "mp_rank_00_model_states.pt"
    shard.parent.mkdir(parents=True)
    shard.touch()
    (run / "checkpoints" / "checkpoint-2" / "latest").write_text("global_step2\n")
    return shard


def test_another_users_pickles_are_not_loaded_without_trust(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """DeepSpeed's shards, where the recipe has DeepSpeed load them; the same for code beside a tokenizer."""
    shard = sharded(tmp_path / "run")
    with_zero, without = load("smoke/sft", ["deepspeed=zero2"]), load("smoke/sft")
    check_own(tmp_path / "run", 2, with_zero)
    monkeypatch.setattr("trainers.checkpoints.ownership.os.geteuid", lambda: os.getuid() + 1)
    check_own(tmp_path / "run", 2, without)
    with pytest.raises(TrainError, match=f"{shard.parent} is not your file.*add --trust"):
        check_own(tmp_path / "run", 2, with_zero)
    (tmp_path / "run" / "eval_tokenizer").mkdir()
    (tmp_path / "run" / "eval_tokenizer" / "tokenization_theirs.py").touch()
    check_own(tmp_path / "run", 2, without)
    with pytest.raises(TrainError, match="tokenization_theirs.py is not your file"):
        check_own(tmp_path / "run", 2, load("smoke/sft", ["model.trust_remote_code=true"]))


@pytest.mark.parametrize("said", ["../../../evil/global_step2", "/evil/global_step2", "", "global_step2/../../x"])
def test_deepspeed_is_not_led_elsewhere(tmp_path: Path, said: str) -> None:
    sharded(tmp_path / "run")
    (tmp_path / "run" / "checkpoints" / "checkpoint-2" / "latest").write_text(said)
    with pytest.raises(TrainError, match="latest: .* is not a folder beside it"):
        check_own(tmp_path / "run", 2, load("smoke/sft", ["deepspeed=zero2"]))
