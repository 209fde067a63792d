"""W&B and TensorBoard of a recipe's run: one W&B run over resumes, the same keys in the run folder's tensorboard/."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from eval_hooks import EvalError
from tests.eval_hooks.offline import offline_runs
from trainers.recipe import Recipe
from trainers.run import train
from trainers.tracking import join_wandb

Load = Callable[..., Recipe]
WORDS = ("eval.retain.0.limit=6", "train.save_strategy=steps", "train.save_steps=1", "track.wandb.mode=offline")


def test_a_resumed_run_goes_on_in_the_same_wandb_run(recipe: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    """Offline a second file with the first one's id; the line to upload names both, oldest first."""
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.delenv("WANDB_MODE", raising=False)
    for steps, resume in ((1, False), (2, True)):
        assert train(recipe(*WORDS, f"train.max_steps={steps}"), run_dir=Path("run"), resume=resume) == 0
    import wandb

    wandb.teardown()
    first, second = offline_runs(Path("run"))
    kept = json.loads(Path("run/wandb.json").read_text())
    assert first.id == second.id == kept["id"] and kept["project"] == "tempering"
    assert [row["train/global_step"] for row in second.history if "train/loss" in row] == [2]
    assert second.axes["*"] == "train/global_step"
    folders = json.loads(Path("run/status.json").read_text())["wandb_dir"].split(" ")
    assert [Path(folder) for folder in folders] == [run.folder.resolve() for run in (first, second)]


def test_tensorboard_by_the_recipe(recipe: Load) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    assert train(recipe("eval.retain.0.limit=6", "train.max_steps=1", "track.tensorboard=true")) == 0
    read = EventAccumulator("runs/tiny/tensorboard").Reload()
    keys = {key for line in Path("runs/tiny/metrics.jsonl").read_text().splitlines() for key in json.loads(line)}
    word = "eval/pocket/retention/verdict"  # a word: text there
    assert set(read.Tags()["scalars"]) == keys - {"step", "time", word}
    assert word in keys and any(tag.startswith(word) for tag in read.Tags()["tensors"])
    assert {"train/loss", "eval/pocket/accuracy"} <= keys
    assert "eval/pocket/reliability" in read.Tags()["images"]


def test_a_recipe_that_wants_a_missing_tensorboard_is_refused(recipe: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eval_hooks.sinks.find_spec", lambda name: None)
    with pytest.raises(EvalError, match="tensorboard is not installed"):
        train(recipe("track.tensorboard=true"))
    assert not Path("runs").exists()


def test_a_run_folder_alone_uploads_nothing(recipe: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stranger's folder says that its W&B run is online: a watcher joins it only where it is asked to."""
    monkeypatch.delenv("WANDB_MODE", raising=False)
    (tmp_path / "run" / "wandb" / "run-20260101_000000-theirs").mkdir(parents=True)
    loaded = recipe("track.wandb={mode: online, entity: stranger}")
    monkeypatch.setattr("wandb.init", lambda **asked: asked)
    assert join_wandb(loaded, tmp_path / "run") == (
        None, "run theirs is online: --trust joins it; all numbers are in metrics.jsonl",
    )  # fmt: skip
    assert join_wandb(loaded, tmp_path / "run", trust=True)[0]["entity"] == "stranger"
