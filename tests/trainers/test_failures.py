"""What breaks a run is said with its remedy; older checkpoints stay, and the resumed run is the unbroken one."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from trl import SFTTrainer

from eval_hooks.files import whole_checkpoints
from eval_hooks.track import Tracker
from tests.trainers.test_resume import EACH, curve, same_weights
from trainers.failures import advice
from trainers.memory.lighter import lighter
from trainers.recipe import Recipe
from trainers.run import train
from trainers.rundir import read_status

Load = Callable[..., Recipe]
BARE = (*EACH, "eval.retain=[]", "eval.every=null")
HALVES = (*BARE, "train.per_device_train_batch_size=2")
real_loss, real_step = SFTTrainer.compute_loss, SFTTrainer.training_step


def spoil(
    monkeypatch: pytest.MonkeyPatch, step: int, with_: Callable[[torch.Tensor], torch.Tensor], n: int = 1
) -> None:
    """Change the loss of the first n micro-batches of a step."""
    seen: list[int] = []

    def compute_loss(self: Any, *args: Any, **kwargs: Any) -> Any:
        loss = real_loss(self, *args, **kwargs)
        if self.state.global_step + 1 == step and len(seen) < n:
            seen.append(step)
            return with_(loss)
        return loss

    monkeypatch.setattr(SFTTrainer, "compute_loss", compute_loss)


def at_step(monkeypatch: pytest.MonkeyPatch, step: int, do: Callable[[], None]) -> None:
    """Do something when a step begins."""

    def training_step(self: Any, *args: Any, **kwargs: Any) -> Any:
        if self.state.global_step + 1 == step:
            do()
        return real_step(self, *args, **kwargs)

    monkeypatch.setattr(SFTTrainer, "training_step", training_step)


def resumed_is_whole(recipe: Load, run: Path, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """Resumed without the fault, the run is bit for bit the one that never had it."""
    monkeypatch.setattr(SFTTrainer, "compute_loss", real_loss)
    monkeypatch.setattr(SFTTrainer, "training_step", real_step)
    assert train(recipe(*words), run_dir=run, resume=True) == 0
    assert train(recipe(*words), run_dir=Path("whole")) == 0
    assert curve(run) == curve(Path("whole"))
    assert same_weights(run / "checkpoints/checkpoint-4", Path("whole/checkpoints/checkpoint-4"))


def test_a_loss_that_is_no_number_stops_the_run_and_keeps_its_rows(
    recipe: Load, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    spoil(monkeypatch, 3, lambda loss: loss * float("nan"))
    assert train(recipe(*HALVES), run_dir=Path("run")) == 4
    error = read_status(Path("run"))["error"]
    assert "step 3, method nll: the loss of a batch is nan; its rows are in run/bad-batches" in error
    assert "--resume goes on from checkpoint-2" in error
    assert "Traceback" not in capsys.readouterr().err and "Traceback" in Path("run/traceback.txt").read_text()
    rows = [json.loads(line) for line in Path("run/bad-batches/step-3.rank-0.jsonl").read_text().splitlines()]
    assert len(rows) == 2 and all("Count to" in row["input_ids.text"] for row in rows)
    assert sorted(whole_checkpoints(Path("run"))) == [1, 2]
    resumed_is_whole(recipe, Path("run"), HALVES, monkeypatch)


def test_a_bad_batch_that_may_be_left_out_counts_as_one_without_gradient(
    recipe: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same weights, to the bit, as where that micro-batch's loss is multiplied by 0; a second bad step is too many."""
    skip = (*HALVES, "train.skip_bad_batches=1")
    spoil(monkeypatch, 3, lambda loss: loss * float("nan"))
    assert train(recipe(*skip), run_dir=Path("skipped")) == 0
    assert Path("skipped/bad-batches/step-3.rank-0.jsonl").is_file()
    spoil(monkeypatch, 3, lambda loss: loss * 0.0)
    assert train(recipe(*HALVES), run_dir=Path("zeroed")) == 0
    for step in (3, 4):
        assert same_weights(*(Path(run) / f"checkpoints/checkpoint-{step}" for run in ("skipped", "zeroed")))
    spoil(monkeypatch, 4, lambda loss: loss * float("nan"))
    shutil.rmtree("skipped/checkpoints/checkpoint-4")
    assert train(recipe(*skip), run_dir=Path("skipped"), resume=True) == 4
    assert "step 4, method nll" in read_status(Path("skipped"))["error"]


def test_a_gradient_that_is_no_number_stops_the_run_before_its_weights_are_saved(
    recipe: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    def poison(loss: torch.Tensor) -> torch.Tensor:
        loss.register_hook(lambda gradient: gradient * float("nan"))
        return loss

    spoil(monkeypatch, 3, poison)
    assert train(recipe(*BARE), run_dir=Path("run")) == 4
    assert "the norm of the gradient is nan" in read_status(Path("run"))["error"]
    assert sorted(whole_checkpoints(Path("run"))) == [1, 2]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 140 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=140m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("this machine does not let the test mount a tmpfs (it needs root)")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path) -> None:
    """Leave no room."""
    try:
        with (folder / "filler").open("wb", buffering=0) as handle:
            while True:
                handle.write(bytes(1 << 16))
    except OSError:
        pass


def fill_at_log(patch: pytest.MonkeyPatch, disk: Path) -> None:
    """It fills up as step 3's numbers are logged, which need a page more than their file has."""
    real = Tracker.log

    def log(self: Tracker, step: int, values: Mapping[str, Any]) -> None:
        if step == 3:
            fill(disk)
            values = {**values, **{f"train/more-{i}": 0.0 for i in range(400)}}
        real(self, step, values)

    patch.setattr(Tracker, "log", log)


@pytest.mark.parametrize("what", ["checkpoint", "table", "metric"])
def test_a_full_disk_is_said_and_costs_no_more_than_the_step(
    recipe: Load, small_disk: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, what: str
) -> None:
    """It fills up while step 3 is trained: checkpoint 3, the table, or the numbers of step 3 cannot be written."""
    words = (*(EACH if what == "table" else BARE), "train.save_total_limit=2")
    run = small_disk / "run"
    with monkeypatch.context() as patch:
        if what == "metric":
            fill_at_log(patch, small_disk)
        else:
            at_step(patch, 3, lambda: fill(small_disk))
        assert train(recipe(*words), run_dir=run) == 4
    assert "The disk is full" in capsys.readouterr().err
    (small_disk / "filler").unlink()
    assert sorted(whole_checkpoints(run)) == [1, 2]
    resumed_is_whole(recipe, run, words, monkeypatch)


def test_a_data_process_that_dies_is_said(recipe: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling as Collator

    real = Collator.__call__

    def dies(self: Any, rows: Any, *args: Any) -> Any:
        info = torch.utils.data.get_worker_info()
        if info is not None and any(len(row["input_ids"]) for row in rows) and Path("armed").is_file():
            os.kill(os.getpid(), 9)
        return real(self, rows, *args)

    monkeypatch.setattr(Collator, "__call__", dies)
    Path("armed").touch()
    assert train(recipe(*BARE, "train.dataloader_num_workers=1"), run_dir=Path("run")) == 4
    assert "fewer train.dataloader_num_workers, or 0" in read_status(Path("run"))["error"]


def test_out_of_memory_names_what_makes_it_fit(recipe: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    spoil(monkeypatch, 2, lambda loss: torch.empty(1 << 50).sum() * loss)
    assert train(recipe(*BARE), run_dir=Path("run")) == 4
    error = read_status(Path("run"))["error"]
    assert "is foreseen to take" in error and "; deepspeed=null train.per_device_train_batch_size=2 " in error
    assert "--resume goes on from checkpoint-1" in error


def test_where_nothing_can_be_foreseen_the_advice_is_general(recipe: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    def short(*args: Any) -> None:
        raise MemoryError

    monkeypatch.setattr("trainers.memory.foresee.Foresight.row", short)
    assert "deepspeed: zero2, zero3; nothing nearer could be foreseen (MemoryError)" in lighter(recipe())


def test_only_a_failure_with_a_known_cause_has_advice(recipe: Load, tmp_path: Path) -> None:
    known = (
        OSError(28, "No space left on device"),
        RuntimeError("[enforce fail at inline_container.cc:664] . PytorchStreamWriter failed writing file data/3"),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("[gloo] Connection closed by peer [127.0.0.1]:1"),
    )
    assert all(advice(error, tmp_path, recipe()) for error in known)
    assert advice(RuntimeError("shape mismatch"), tmp_path, recipe()) is None


def test_a_run_outlives_its_wandb_process_and_one_run_comes_of_it(
    recipe: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed during step 3 of 4: a second folder of the same run; together they have every step once, on one axis.

    The first one's process had written nothing yet (it does so after some seconds): what it lacks is shown again.
    """
    import psutil
    import wandb

    from tests.eval_hooks.offline import offline_runs

    monkeypatch.setenv("WANDB_SILENT", "true")

    def kill() -> None:
        for child in psutil.Process().children(recursive=True):
            if "wandb" in child.name():
                child.kill()
                child.wait()

    at_step(monkeypatch, 3, kill)
    held_out = "data.validation=[{name: rows, source: jsonl, path: rows.jsonl, n: 4}]"
    words = (*BARE, held_out, "track.wandb={mode: offline, project: p}")
    with pytest.warns(UserWarning, match="W&B: .*begun anew in .*offline-run"):
        assert train(recipe(*words), run_dir=Path("run")) == 0
    assert [step for step, *_ in curve(Path("run"))] == [1, 2, 3, 4]
    wandb.teardown()  # waits for the process that writes the file
    halves = offline_runs(Path("run"))
    number = json.loads(Path("run/wandb.json").read_text())["id"]
    assert [half.folder.name.endswith(number) for half in halves] == [True, True] and halves[1].id == number
    lines = [line for half in halves for line in half.history]
    assert [line["train/global_step"] for line in lines if "train/loss" in line] == [1, 2, 3, 4]
    assert [line["train/global_step"] for line in lines if "val/rows/loss" in line] == [0, 4]
    assert len(str(read_status(Path("run"))["wandb_dir"]).split()) == 2


def test_a_server_that_cannot_be_reached_leaves_the_run_offline(
    recipe: Load, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import wandb

    from trainers.tracking import end_wandb, start_wandb

    monkeypatch.setenv("WANDB_SILENT", "true")
    real = wandb.init

    def unreachable(**asked: Any) -> Any:
        if asked["mode"] == "online":
            raise wandb.errors.CommError("Run initialization has timed out after 90.0 sec.")
        return real(**asked)

    monkeypatch.setattr(wandb, "init", unreachable)
    run = start_wandb(recipe("track.wandb={mode: online, project: p}"), tmp_path, {})
    assert run.settings.mode == "offline" and "offline-run" in run.dir
    end_wandb()


def test_a_clock_that_jumps_changes_no_number(recipe: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    """An hour back while step 3 is trained: the same curve, and no duration below 0."""
    import time

    assert train(recipe(*EACH), run_dir=Path("steady")) == 0
    real = time.time
    at_step(monkeypatch, 3, lambda: monkeypatch.setattr(time, "time", lambda: real() - 3600))
    assert train(recipe(*EACH), run_dir=Path("jumps")) == 0
    assert curve(Path("jumps")) == curve(Path("steady"))
    for step in range(5):
        found = json.loads(Path(f"jumps/evals/step-{step}/summary.json").read_text())
        durations = [found["seconds"], *(found["cost"][key] for key in ("training_seconds", "evaluation_seconds"))]
        assert min(durations) >= 0 and max(durations) < 3600
    assert read_status(Path("jumps"))["state"] == "done"


def test_a_wandb_that_refuses_everything_ends_no_run(
    recipe: Load, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    import wandb

    def refuse(**asked: Any) -> Any:
        raise RuntimeError("run ID x is in use")

    monkeypatch.setattr(wandb, "init", refuse)
    assert train(recipe(*BARE, "track.wandb={mode: offline, project: p}"), run_dir=Path("run")) == 0
    assert "the run goes on without it" in capsys.readouterr().err
    assert [step for step, *_ in curve(Path("run"))] == [1, 2, 3, 4]
