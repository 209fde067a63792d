"""The W&B run of a run folder, joined by a second process."""

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import wandb

from eval_hooks.files import write_json
from eval_hooks.track import Tracker
from eval_hooks.wandb_files import run_folders
from tests.eval_hooks.offline import offline_runs
from trainers.recipe import Recipe
from trainers.rundir import set_status
from trainers.tracking import join_wandb, start_wandb

Load = Callable[..., Recipe]


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable of this machine decides anything."""
    for name in ("WANDB_MODE", "WANDB_PROJECT", "WANDB_ENTITY", "WANDB_NAME", "WANDB_RUN_GROUP"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WANDB_SILENT", "true")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What wandb.init is asked, in place of reaching for a server."""
    calls: list[dict[str, Any]] = []
    monkeypatch.setattr(wandb, "init", lambda **words: calls.append(words) or SimpleNamespace(**words))
    return calls


def begun(root: Path, state: str, folder: str) -> Path:
    """A run folder in which wandb has begun a run."""
    (root / "wandb" / folder).mkdir(parents=True)
    write_json(root / "environment.json", {"host": "elsewhere"})
    set_status(root, state)
    return root


def test_offline_both_write_one_run_on_one_axis(recipe: Load, tmp_path: Path) -> None:
    """Two folders of one id; the watcher's holds its evaluation at the run's step."""
    made = recipe("track.wandb={mode: offline, project: p}")
    first = start_wandb(made, tmp_path, {})
    number = first.id
    first.finish()
    joined, said = join_wandb(made, tmp_path)
    assert joined.id == number and f"wandb sync --id {number}" in said
    Tracker(tmp_path, joined).log(40, {"eval/pocket/accuracy": 0.5})
    joined.finish()
    wandb.teardown()
    first_file, second_file = offline_runs(tmp_path)
    assert first_file.id == second_file.id == number
    (found,) = second_file.history
    assert (found["train/global_step"], found["eval/pocket/accuracy"]) == (40, 0.5)


def test_an_online_run_that_is_over_is_resumed_by_its_id(recipe: Load, tmp_path: Path, asked: list[Any]) -> None:
    root = begun(tmp_path / "run", "done", "run-20260101_000000-abc")
    _, said = join_wandb(recipe("track.wandb={mode: online, project: p, entity: e}"), root, trust=True)
    (call,) = asked
    assert {key: call[key] for key in ("id", "resume", "mode", "project", "entity")} == {
        "id": "abc", "resume": "must", "mode": "online", "project": "p", "entity": "e"}  # fmt: skip
    assert said == "run abc is joined"


@pytest.mark.parametrize("run_id", ["exp-7", "a-b.c_d-", "7"])
def test_an_id_with_hyphens_is_read_whole(recipe: Load, tmp_path: Path, asked: list[Any], run_id: str) -> None:
    """Beside a folder of another run, whose id ends in the same way."""
    begun(tmp_path / "run", "done", "run-20250101_000000-exp-exp-7")
    root = begun(tmp_path / "run", "done", f"run-20260101_000000-{run_id}")
    os.utime(root / "wandb" / "run-20250101_000000-exp-exp-7", (0, 0))
    join_wandb(recipe("track.wandb={mode: online, project: p, entity: e}"), root, trust=True)
    assert asked[0]["id"] == run_id
    assert [one.path.name for one in run_folders(root, run_id)] == [f"run-20260101_000000-{run_id}"]


def test_an_online_run_at_work_is_joined_only_where_both_share(recipe: Load, tmp_path: Path, asked: list[Any]) -> None:
    """Measuring left to watchers: both in wandb's shared mode, and only the trainer ends the run."""
    root = begun(tmp_path / "run", "running", "run-20260101_000000-abc")
    joined, said = join_wandb(recipe("track.wandb={mode: online}"), root, trust=True)
    assert joined is None and "being written by the trainer alone (eval.live: false lets watchers in)" in said
    shared = recipe("track.wandb={mode: online}", "eval.live=false")
    start_wandb(shared, root, {})
    join_wandb(shared, root, trust=True)
    trainer, watcher = asked
    assert trainer["mode"] == watcher["mode"] == "shared" and watcher["id"] == "abc"
    assert trainer["settings"].x_primary and trainer["settings"].x_update_finish_state
    assert not watcher["settings"].x_primary and not watcher["settings"].x_update_finish_state


def test_what_cannot_be_joined_is_said(recipe: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def down(**words: Any) -> None:
        raise wandb.errors.CommError("no route to host")

    monkeypatch.setattr(wandb, "init", down)
    online = recipe("track.wandb={mode: online}")
    joined, said = join_wandb(online, begun(tmp_path / "run", "done", "run-20260101_000000-abc"), trust=True)
    assert joined is None and "run abc cannot be joined (no route to host)" in said and "metrics.jsonl" in said
    assert join_wandb(online, tmp_path / "none")[0] is None
    assert join_wandb(recipe("track=null"), tmp_path / "run")[0] is None
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert "the run keeps none here" in join_wandb(online, tmp_path / "run")[1]
