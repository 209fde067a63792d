"""A signal ends a run after its step, with a checkpoint to go on from."""

import contextlib
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


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), pytest.param(signal.SIGUSR1, 143, marks=pytest.mark.soak)]
)
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


PLUGIN = """
from trainers.rlvr.judge import VERIFIERS as known
VERIFIERS = {"another": next(iter(known.values()))}
"""
"""What makes any file a plugin."""


def slow_evaluation(at: int) -> str:
    """A plugin: scoring takes half a second a job at one step, so that a signal can come in between."""
    return (
        PLUGIN
        + f"""
import time
import eval_hooks.callback as callback
real = callback.progress_bar
from contextlib import contextmanager

@contextmanager
def slow(total, description):
    with real(total, description) as bar:
        def wait(done):
            print("measuring", description, flush=True)
            time.sleep(0.5 if description.endswith("@{at}") else 0)
            bar(done)
        yield wait

callback.progress_bar = slow
"""
    )


@pytest.mark.soak
@pytest.mark.parametrize("at", [2, 4])
def test_a_signal_breaks_an_evaluation_off_and_it_is_made_first_when_resumed(recipe_file: Path, at: int) -> None:
    """Between the steps and at the end: exit code 143, a checkpoint at that step, no summary; then the same numbers."""
    (recipe_file.parent / "slow.py").write_text(slow_evaluation(at))
    words = ["eval.every=2", "train.save_steps=2", "train.save_strategy=steps", "--run-dir", "run"]
    command = [sys.executable, "-m", "launch", "train", str(recipe_file), *words]
    process = subprocess.Popen([*command, "plugins=[./slow.py]"], env=ENV, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if f"@{at}" in line:
            process.send_signal(signal.SIGUSR1)
            break
    process.stdout.read()
    assert process.wait(timeout=120) == 143 and status()["code"] == 143
    found = [Path(f"run/evals/step-{step}/summary.json").is_file() for step in (0, 2, 4)]
    assert found == [True, at > 2, False]
    assert last_checkpoint(Path("run")) == f"run/checkpoints/checkpoint-{at}"
    done = subprocess.run([*command, "--resume"], env=ENV, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    done = subprocess.run([*command[:-1], "whole"], env=ENV, capture_output=True, text=True, check=False, timeout=120)
    for step in (2, 4):
        both = [json.loads(Path(f"{name}/evals/step-{step}/summary.json").read_text()) for name in ("run", "whole")]
        entries = [summary["tasks"]["pocket"] for summary in both]
        assert (
            entries[0]["accuracy"] == entries[1]["accuracy"] and entries[0]["calibration"] == entries[1]["calibration"]
        )


@pytest.mark.soak
def test_a_second_signal_ends_a_run_at_once(recipe_file: Path) -> None:
    """While a step takes a minute: code 143 within seconds, no checkpoint."""
    slow = PLUGIN + "import time, trl\nreal = trl.SFTTrainer.training_step\n"
    slow += (
        "def step(self, *a, **k):\n    time.sleep(60 * (self.state.global_step >= 3))\n    return real(self, *a, **k)\n"
    )
    (recipe_file.parent / "slow.py").write_text(slow + "trl.SFTTrainer.training_step = step\n")
    process = started(recipe_file, words=("plugins=[./slow.py]",))
    begin = time.monotonic()
    for wait in (0.5, 3.0, 0.0):  # the second is taken for an echo of the first
        process.send_signal(signal.SIGTERM)
        time.sleep(wait)
        assert process.poll() is None or not wait
    assert process.wait(timeout=50) == 143 and time.monotonic() - begin < 50
    assert (status()["state"], status()["code"]) == ("interrupted", 143)
    assert last_checkpoint(Path("run")) is None


@pytest.mark.parametrize("number", [pytest.param(signal.SIGKILL, marks=pytest.mark.soak), signal.SIGSTOP])
def test_a_rank_that_dies_or_hangs_ends_the_others_with_a_message(recipe_file: Path, number: int) -> None:
    """Within train.ddp_timeout: here 10 s."""
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")
    process = started(recipe_file, *launcher, words=("train.global_batch_size=4", "train.ddp_timeout=10"))
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(int(children[-1]), number)
    deadline = time.monotonic() + 60
    while status()["state"] == "running" and time.monotonic() < deadline:
        time.sleep(0.2)
    assert (status()["state"], status()["code"]) == ("failed", 4)
    assert "Another rank died, or hung for longer than train.ddp_timeout" in str(status()["error"])
    for child in children:
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(child), signal.SIGKILL)
    assert process.wait(timeout=60) != 0


STUCK = """
import ctypes, os, signal, sys, time
from types import SimpleNamespace
from trainers import signals
signals.ECHO_S, signals.GRACE_S = 0.3, 0.2
stop = signals.StopOnSignal(SimpleNamespace(abandoned=False))
stop.at_once = lambda code: print("status", code, flush=True)
stop.on_step_begin(None, None, None)
if "child" in sys.argv:
    child = os.fork() or time.sleep(600)
    for _ in range(2):
        os.kill(child, signal.SIGTERM)
        time.sleep(0.5)
    os.kill(child, signal.SIGKILL)
print("ready", flush=True)
mutex, libc = ctypes.create_string_buffer(64), ctypes.CDLL(None)
libc.pthread_mutex_lock(mutex)
libc.pthread_mutex_lock(mutex)
"""
"""The second lock of one mutex never returns, and no signal interrupts it: Python's handlers wait for ever."""


def stuck(*words: str) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", STUCK, *words], env=ENV, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    while "ready" not in process.stdout.readline():
        assert process.poll() is None
    return process


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_second_signal_ends_a_run_inside_a_call_that_does_not_return(number: int, code: int) -> None:
    process = stuck()
    process.send_signal(number)
    process.send_signal(number)  # an echo of the first
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=1)
    process.send_signal(number)
    out, _ = process.communicate(timeout=20)
    assert process.returncode == code and f"status {code}" in out


def test_signals_to_a_forked_worker_are_none_to_the_run() -> None:
    process = stuck("child")
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=1)
    process.kill()
    process.wait()


HANGS = """
import ctypes, os
from dataclasses import replace
from trainers.catalog import METHODS as known
calls = []
def step(ctx, batch, cfg):
    calls.append(1)
    if len(calls) > 12 and os.environ.get("RANK", "0") == "0":
        mutex, libc = ctypes.create_string_buffer(64), ctypes.CDLL(None)
        libc.pthread_mutex_lock(mutex)
        libc.pthread_mutex_lock(mutex)
    return known["instruction_modelling"].step(ctx, batch, cfg)
METHODS = {"hangs": replace(known["instruction_modelling"], step=step)}
"""
"""Rank 0 hangs in a step, the other one in a collective that waits for it."""


@pytest.mark.soak
@pytest.mark.parametrize("ranks", [1, 2])
def test_a_second_signal_ends_ranks_that_hang(recipe_file: Path, ranks: int) -> None:
    """Alone and under `temper launch`: SIGTERM twice, status.json says so, --resume would go on."""
    (recipe_file.parent / "hangs.py").write_text(HANGS)
    words = [f"plugins=[{recipe_file.parent}/hangs.py]", "method.name=hangs", "eval.retain=[]", "train.max_steps=999",
             "train.global_batch_size=4", "train.save_strategy=no"]  # fmt: skip
    start = ["launch", str(recipe_file), *words, "--nproc", "2"] if ranks == 2 else ["train", str(recipe_file), *words]
    process = subprocess.Popen([sys.executable, "-m", "launch", *start, "--run-dir", "run"], env=ENV)
    metrics, deadline = Path("run/metrics.jsonl"), time.monotonic() + 240
    while not (metrics.is_file() and metrics.read_text().count("train/loss") >= 3):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.5)
    time.sleep(5)
    process.send_signal(signal.SIGTERM)
    time.sleep(4)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=40) == 143
    assert (status()["state"], status()["code"]) == ("interrupted", 143)
