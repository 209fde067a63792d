"""The drill: a run is really killed and resumed; and every way in which it could differ is found."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from launch import RecipeError
from launch.drill.compare import findings
from launch.drill.run import Drill, drill, words_of
from trainers.recipe import Recipe
from trainers.run import train

EACH = ("train.save_strategy=steps", "train.save_steps=1", "eval.every=2")


def test_a_run_that_is_killed_and_resumed_is_the_unbroken_one(recipe_file: Path, capsys: pytest.CaptureFixture) -> None:
    """Kill -9 in a step and while a checkpoint is written."""
    words = words_of(("eval.retain.0.limit=4", "track.wandb={mode: offline, project: p}"), steps=8, every=2)
    asked = Drill(recipe=str(recipe_file), words=words, steps=8, nproc=1, other_ranks=None, out=Path("drill"))
    assert drill(asked, kills=2, seed=1) == 0
    found = json.loads(Path("drill/drill.json").read_text())
    assert found["passed"] and [kill["moment"] for kill in found["kills"]] == ["step", "save"]
    assert {name for name, *_ in found["found"]} >= {"steps", "train/loss", "weights", "evaluations", "W&B"}
    assert "goes on from" in capsys.readouterr().out
    with pytest.raises(RecipeError, match="not empty"):
        drill(asked, kills=1, seed=1)


@pytest.mark.soak
def test_fifty_random_kills_lose_nothing(recipe_file: Path) -> None:
    words = words_of(("eval.retain.0.limit=8",), steps=240, every=5)
    asked = Drill(recipe=str(recipe_file), words=words, steps=240, nproc=1, other_ranks=None, out=Path("drill"))
    assert drill(asked, kills=50, seed=0) == 0


def test_every_difference_is_found(recipe: Callable[..., Recipe]) -> None:
    """A copy is the same; one with a changed loss, a step twice, other weights or another evaluation is not."""
    assert train(recipe(*EACH, "eval.retain.0.limit=4"), run_dir=Path("whole")) == 0

    def differs(spoil: Callable[[Path], object]) -> set[str]:
        shutil.rmtree("copy", ignore_errors=True)
        shutil.copytree("whole", "copy")
        spoil(Path("copy"))
        return {name for name, _, same in findings(Path("whole"), Path("copy"), exact=True) if not same}

    def reweigh(run: Path) -> None:
        file = run / "checkpoints/checkpoint-4/model.safetensors"
        tensors = load_file(file)
        first = next(iter(tensors))
        save_file({**tensors, first: tensors[first] + torch.finfo(torch.float32).eps}, file)

    def rewrite(name: str, old: str, new: str) -> Callable[[Path], object]:
        def spoil(run: Path) -> None:
            text = (run / name).read_text()
            assert old in text
            (run / name).write_text(text.replace(old, new, 1))

        return spoil

    def twice(run: Path) -> None:
        with (run / "metrics.jsonl").open("a") as handle:
            handle.write(json.dumps({"step": 4, "train/loss": 1.0}) + "\n")

    assert differs(lambda run: None) == set()
    assert differs(rewrite("metrics.jsonl", '"train/loss": ', '"train/loss": 1')) == {"train/loss"}
    assert differs(twice) == {"steps"}
    assert differs(reweigh) == {"weights"}
    assert differs(rewrite("evals/step-4/summary.json", '"n": 4', '"n": 5')) == {"evaluations"}
