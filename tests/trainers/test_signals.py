"""A signal ends a run after its step, with a checkpoint to go on from."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from trainers.run import last_checkpoint

ROOT = Path(__file__).parents[2]
ENV = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
LONG = ("train.max_steps=100000", "train.save_strategy=no", "eval.retain=[]")


def started(recipe_file: Path, *before: str, words: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    """A run that would take hours, past its third step."""
    command = [sys.executable, *before, "-m", "launch", "train", str(recipe_file), *LONG, *words, "--run-dir", "run"]
    process = subprocess.Popen(command, env=ENV, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    metrics = Path("run/metrics.jsonl")
    deadline = time.monotonic() + 180
    while not (metrics.is_file() and metrics.read_text().count("train/loss") >= 3):
        assert process.poll() is None and time.monotonic() < deadline, process.stderr and process.stderr.read()
        time.sleep(0.1)
    return process


def status() -> dict[str, object]:
    return json.loads(Path("run/status.json").read_text())


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGUSR1, 143)])
def test_the_step_is_finished_a_checkpoint_saved_and_the_code_given(recipe_file: Path, number: int, code: int) -> None:
    process = started(recipe_file)
    process.send_signal(number)
    assert process.wait(timeout=120) == code
    assert status()["state"] == "interrupted" and status()["code"] == code
    checkpoint = last_checkpoint(Path("run"))
    assert checkpoint is not None
    step = int(checkpoint.rpartition("-")[2])
    assert json.loads((Path(checkpoint) / "trainer_state.json").read_text())["global_step"] == step >= 3
    assert not list(Path("run/evals").glob(f"step-{step}/*"))

    more = [sys.executable, "-m", "launch", "train", str(recipe_file), "eval.retain=[]", "--run-dir", "run", "--resume"]
    done = subprocess.run(
        [*more, f"train.max_steps={step + 2}"], env=ENV, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    lines = Path("run/metrics.jsonl").read_text().splitlines()
    steps = [json.loads(line)["step"] for line in lines if "train/loss" in line]
    assert steps == list(range(1, step + 3))


def test_a_signal_to_one_rank_stops_all_at_the_same_step(recipe_file: Path) -> None:
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")
    process = started(recipe_file, *launcher, words=("train.global_batch_size=4",))
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(int(children[-1]), signal.SIGUSR1)
    assert process.wait(timeout=120) != 0
    assert status()["code"] == 143
    assert last_checkpoint(Path("run")) is not None
