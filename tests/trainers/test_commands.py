"""temper data and temper eval, on a tiny model."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from data_mix.config import SourceSpec
from data_mix.sources.sql import Sql
from eval_hooks.config import TaskSpec
from eval_hooks.table import read_table
from trainers import TrainError
from trainers.evaluate import evaluate, step_of
from trainers.recipe import ModelSection, Recipe
from trainers.show_data import show

Load = Callable[..., Recipe]


def test_rows_are_shown_with_what_is_trained_and_the_manifest_is_written(
    recipe: Load, capsys: pytest.CaptureFixture
) -> None:
    show(recipe(), rows=2)
    out = capsys.readouterr().out
    assert out.count("jsonl, /") == 2
    assert "Count to 1 from 0.<|im_end|>" in out
    assert "[[0<|im_end|>]]" in out
    assert "[[You are" not in out
    manifest = json.loads(Path("runs/tiny/data.manifest.json").read_text())
    assert manifest["train"]["jsonl"]["rows"] == 16


def test_what_a_method_trains_is_what_is_shown(recipe: Load, capsys: pytest.CaptureFixture) -> None:
    show(recipe("method={name: instruction_modelling}"), rows=1)
    assert "[[Count to 1 from 0." in capsys.readouterr().out


def test_a_source_the_recipe_has_not_is_named(recipe: Load) -> None:
    with pytest.raises(TrainError, match="no such train source; it has: jsonl"):
        show(recipe(), source="sql")


def test_one_evaluation_prints_its_numbers_and_keeps_its_tables(
    tiny_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    spec = TaskSpec(task="pocket", variant="olmes_cf", shots=0, limit=12)
    summary = evaluate(model=ModelSection(path=str(tiny_folder)), tasks=(spec,), out=tmp_path / "e")
    assert read_table(tmp_path / "e" / "pocket.parquet").num_rows == 12
    assert json.loads((tmp_path / "e" / "summary.json").read_text())["tasks"]["pocket"]["n"] == 12
    assert summary["tasks"]["pocket"]["accuracy"]["low"] is not None
    assert "accuracy of guessing" in capsys.readouterr().out


def test_a_generative_task_gets_its_rows_from_its_source(tiny_folder: Path) -> None:
    spec = TaskSpec(
        task="sql",
        split="test",
        max_new_tokens=2,
        rows=SourceSpec(source="sql", name="sql", config=Sql(n=3, seed=1, split="test")),
    )
    summary = evaluate(model=ModelSection(path=str(tiny_folder)), tasks=(spec,))
    assert summary["tasks"]["sql"]["n"] == 3


@pytest.mark.parametrize(("path", "step"), [("a/b", 0), ("run:40", 40), ("r/checkpoints/checkpoint-7", 7), ("x:y", 0),
                                           ("a/checkpoint-7-good", 0), ("a/checkpoint-²", 0), ("a/checkpoint-007", 0), ("my7", 0)])  # fmt: skip
def test_the_step_of_a_model(path: str, step: int) -> None:
    assert step_of(path) == step
