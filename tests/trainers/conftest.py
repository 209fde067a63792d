"""A tiny random model on disk and a recipe around it: a whole run in seconds."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer

import eval_hooks.report
from launch.load import load
from tests.conftest import SMALL_VOCABULARY, tiny_llama
from trainers.recipe import Recipe

RECIPE = """\
stage: sft
model: {{path: {model}, dtype: float32}}
data:
  train: [{{source: jsonl, path: {data}}}]
train: {{max_steps: 4, learning_rate: 1e-2, global_batch_size: 4, logging_steps: 1, use_cpu: true, disable_tqdm: true,
        lr_scheduler_type: constant, seed: 7}}
eval:
  retain: [{{task: pocket, variant: olmes_cf, shots: 0, limit: 20}}]
track: {{wandb: {{mode: disabled}}}}
"""


@pytest.fixture(autouse=True)
def no_report(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, few_resamples: None) -> None:
    """Drawing a report takes a third of a tiny run; a test that reads one asks for `reports`."""
    if "reports" not in request.fixturenames:
        monkeypatch.setattr(eval_hooks.report, "write_report", lambda folder: [])


@pytest.fixture
def reports() -> None:
    """A run that ends draws its report."""


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory, small_vocabulary: Path) -> Path:
    """A tiny Llama with the small vocabulary, as a model folder."""
    folder = tmp_path_factory.mktemp("tiny")
    tiny_llama(SMALL_VOCABULARY).save_pretrained(folder)
    AutoTokenizer.from_pretrained(small_vocabulary).save_pretrained(folder)
    return folder


def write_rows(path: Path, n: int = 16) -> Path:
    """Chats of different lengths, answers of one to five words."""
    rows = [
        {"messages": [{"role": "user", "content": f"Count to {i % 5 + 1} from {i}."},
                      {"role": "assistant", "content": " ".join(str(i + k) for k in range(i % 5 + 1))}]}
        for i in range(n)
    ]  # fmt: skip
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def recipe_file(tmp_path: Path, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A recipe for the tiny model in an empty folder, which becomes the current one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TEMPERING_CACHE", str(tmp_path / "cache"))
    file = tmp_path / "tiny.yaml"
    file.write_text(RECIPE.format(model=tiny_folder, data=write_rows(tmp_path / "rows.jsonl")))
    return file


@pytest.fixture
def recipe(recipe_file: Path) -> Callable[..., Recipe]:
    """The recipe with words laid over it."""
    return lambda *words: load(str(recipe_file), words)


def runs_in(home: Path) -> Callable[..., Path]:
    """Words -> a finished run of the recipe `tiny.yaml` there, made once."""
    from trainers.run import train

    made: dict[Sequence[str], Path] = {}

    def run(*words: str) -> Path:
        if words not in made:
            made[words] = home / f"run{len(made)}"
            assert train(load(str(home / "tiny.yaml"), words), run_dir=made[words]) == 0
        return made[words]

    return run


def weights(folder: Path) -> dict[str, Any]:
    """All tensors of a model or adapter folder."""
    from safetensors.torch import load_file

    return {key: value for file in folder.glob("*.safetensors") for key, value in load_file(file).items()}


def resumed_is_unbroken(make: Callable[..., Recipe], *words: str, steps: int = 2, again: tuple[str, ...] = ()) -> None:
    """All steps at once = the first one, then the rest by --resume (there with the words `again`): equal weights."""
    import shutil

    from trainers.run import train

    every = (
        *words,
        "train.save_strategy=steps",
        "train.save_steps=1",
        "train.save_total_limit=9",
        f"train.max_steps={steps}",
    )
    assert train(make(*every), run_dir=Path("whole")) == 0
    shutil.copytree("whole", "half")
    for step in range(2, steps + 1):
        shutil.rmtree(f"half/checkpoints/checkpoint-{step}")
    Path("half/recipe.resolved.json").unlink()  # what would refuse `again`
    assert train(make(*every, *again), run_dir=Path("half"), resume=True) == 0
    whole, half = (weights(Path(run) / "checkpoints" / f"checkpoint-{steps}") for run in ("whole", "half"))
    assert whole and all(torch.equal(whole[key], half[key]) for key in whole)
    assert any(
        not torch.equal(whole[key], first) for key, first in weights(Path("whole/checkpoints/checkpoint-1")).items()
    )
