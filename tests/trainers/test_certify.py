"""A certificate says that a checkpoint is what was measured, and any file that is not it says so."""

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer
from typer.testing import CliRunner

import eval_hooks.report
from launch.certified import checkpoint_of
from launch.cli import app
from launch.load import load
from tests.trainers.conftest import RECIPE, write_rows
from trainers import TrainError
from trainers.certify import certify
from trainers.run import train

COMMON = ("eval.retain=[{task: pocket, variant: olmes_cf, shots: 0, limit: 120}]", "eval.every=1",
          "train.max_steps=2", "train.save_total_limit=9")  # fmt: skip
LORA = (*COMMON, "adapter={kind: lora, r: 4}")
KINDS = {
    "full": COMMON,
    "lora": LORA,
    "bf16": (*COMMON, "train.bf16=true"),
    "bf16 weights": (*COMMON, "model.dtype=bfloat16", "model.force_bf16_weights=true"),
    "lora and new tokens": (*LORA, "model.add_tokens=[<x>]"),
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, tiny_folder: Path) -> Iterator[Path]:
    """A folder with the tiny recipe and a cache, for all tests here; no report is drawn."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "tiny.yaml").write_text(RECIPE.format(model=tiny_folder, data=write_rows(folder / "rows.jsonl")))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TEMPERING_CACHE", str(folder / "cache"))
        patch.setattr(eval_hooks.report, "write_report", lambda folder: [])
        yield folder


@pytest.fixture(scope="module")
def runs(home: Path) -> Callable[..., Path]:
    """A finished run of the tiny recipe with the words laid over it; made once."""
    made: dict[Sequence[str], Path] = {}

    def run(*words: str) -> Path:
        if words not in made:
            made[words] = home / f"run{len(made)}"
            assert train(load(str(home / "tiny.yaml"), words), run_dir=made[words]) == 0
        return made[words]

    return run


@pytest.fixture
def copy(runs: Callable[..., Path], tmp_path: Path) -> Callable[..., Path]:
    """The last checkpoint of a copy of a run, to be spoilt."""

    def made(*words: str) -> Path:
        shutil.copytree(runs(*words), tmp_path / "run")
        return tmp_path / "run/checkpoints/checkpoint-2"

    return made


def temper(*words: object) -> tuple[int, str]:
    done = CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": "240"})
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.output


def rows(folder: Path) -> dict[str, dict[str, Any]]:
    return {row["form"]: row for row in json.loads((folder / "certificate.json").read_text())["rows"]}


@pytest.mark.parametrize("kind", KINDS)
def test_a_checkpoint_is_bit_for_bit_what_the_trainer_measured(copy: Callable[..., Path], kind: str) -> None:
    """Reloaded: a difference of 0, tolerance 0. Merged: only what the order of sums makes. 8 bits move less than 4."""
    folder = copy(*KINDS[kind])
    code, said = temper("certify", folder)
    made = rows(folder)
    print(said)
    assert code == 0, said
    assert made["reloaded"]["largest"] == made["reloaded"]["tolerance"] == 0.0 and made["reloaded"]["flips"] == 0
    assert ("merged" in made) == ("lora" in kind)
    assert 0 < made["8bit"]["largest"] and 0 < made["4bit"]["largest"]
    assert made["8bit"]["mean"] < made["4bit"]["mean"]
