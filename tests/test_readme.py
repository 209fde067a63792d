"""What the README shows is what there is: its table, its recipe, its commands, its callback."""

import re
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset
from typer.main import get_command

from launch.cli import app
from launch.load import load
from launch.recipes import find_recipe
from tests.conftest import tiny_llama
from trainers.catalog import METHODS, STAGES

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text("utf-8")


def block(kind: str) -> str:
    """The first code block of a kind."""
    found = re.search(rf"```{kind}\n(.*?)```", TEXT, re.DOTALL)
    assert found
    return found[1]


def table() -> str:
    """Stages and methods, as the README must print them."""
    head = ["| stage | for | method | what it minimises |", "|---|---|---|---|"]
    rows = [
        f"| {method.stage} | {STAGES[method.stage].about} | `{name}` | {method.about} |"
        for name, method in METHODS.items()
    ]
    return "\n".join([*head, *rows])


def test_the_table_of_methods_is_the_catalogs() -> None:
    printed = re.search(r"<!-- printed from trainers/catalog.py.*?-->\n(.*?)\n<!-- end -->", TEXT, re.DOTALL)
    assert printed and printed[1] == table(), f"put this between the markers:\n{table()}"


def test_the_recipe_is_valid(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(block("yaml"))
    recipe = load(str(tmp_path / "mine.yaml"))
    assert recipe.global_batch_size == 64
    assert recipe.data.train[0].columns == {"prompt": "question", "completion": "answer"}


def test_every_command_exists_and_every_recipe_named_is_shipped() -> None:
    commands = get_command(app).commands  # type: ignore[attr-defined]
    named = set(re.findall(r"\btemper (\w+)", TEXT))
    assert named <= commands.keys() and len(named) >= 8
    for recipe in set(re.findall(r"temper train ([\w/]+)", TEXT)) - {"RECIPE"}:
        assert find_recipe(recipe).is_file()
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"^make (\w+)", TEXT, re.MULTILINE)) <= targets


def test_the_picture_is_there() -> None:
    for picture in re.findall(r"!\[.*?\]\((.*?)\)", TEXT):
        assert (ROOT / picture).is_file()


def test_the_callback_runs_as_written(tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the pocket bank cut to a few items, so that a tiny model's run takes seconds."""
    from transformers import Trainer, TrainingArguments

    monkeypatch.chdir(tmp_path)
    args = TrainingArguments(output_dir="out", max_steps=1, report_to="none", use_cpu=True, save_strategy="no")
    ids = [[5, 6, 7, 8]] * 8
    names = {"Trainer": Trainer, "model": tiny_llama(), "args": args, "tokenizer": tokenizer}
    names["rows"] = Dataset.from_dict({"input_ids": ids, "labels": ids})
    exec(block("python").replace('"shots": 0', '"shots": 0, "limit": 6'), names)
    assert (tmp_path / "runs" / "mine" / "evals" / "step-1" / "summary.json").is_file()
