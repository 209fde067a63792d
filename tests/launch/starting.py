"""Runs in processes of their own, by every way to start them; what they printed."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from typer.testing import CliRunner

from launch.cli import app
from trainers.world import free_port

ROOT = Path(__file__).parents[2]
ENV = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "DS_ACCELERATOR": "cpu"}
SHORT = ("train.max_steps=3", "train.save_strategy=no", "eval.retain=[]")
LONG = ("train.max_steps=100000", "train.save_strategy=no", "eval.retain=[]")
PYTHON = [sys.executable, "-m"]
TEMPER = str(Path(sys.executable).with_name("temper"))


def temper_launch(launcher: str) -> Callable[[int], list[str]]:
    return lambda ranks: [*PYTHON, "launch", "launch", "--nproc", str(ranks), "--with", launcher]


FORMS: dict[str, Callable[[int], list[str]]] = {
    "temper train": lambda ranks: [*PYTHON, "launch", "train"],
    "torchrun": lambda ranks: [
        *PYTHON, "torch.distributed.run", "--standalone", "--nproc_per_node", str(ranks), "--no-python", TEMPER, "train",
    ],
    "torchrun -m": lambda ranks: [
        *PYTHON, "torch.distributed.run", "--standalone", "--nproc_per_node", str(ranks), "-m", "launch", "train",
    ],
    "deepspeed": lambda ranks: [
        *PYTHON, "deepspeed.launcher.runner", "--num_gpus", str(ranks), "--master_port", str(free_port()),
        "--module", "launch", "train",
    ],
    "accelerate launch": lambda ranks: [
        *PYTHON, "accelerate.commands.launch", "--num_processes", str(ranks), *(["--multi_gpu"] if ranks > 1 else []),
        "--main_process_port", str(free_port()), "-m", "launch", "train",
    ],
    "temper launch (torchrun)": temper_launch("torchrun"),
    "temper launch --with deepspeed": temper_launch("deepspeed"),
    "temper launch --with accelerate": temper_launch("accelerate"),
}  # fmt: skip
"""Way to start -> the words before the recipe, for a number of ranks."""


def done(start: list[str], recipe: Path, *words: str, timeout: int = 240) -> "subprocess.CompletedProcess[str]":
    """A run that has ended."""
    command = [*start, str(recipe), *words]
    return subprocess.run(command, env=ENV, capture_output=True, text=True, check=False, timeout=timeout)


def alone(recipe: Path, *words: str) -> list[str]:
    """The losses that `temper train` prints, in this process: an import of everything less."""
    ended = CliRunner().invoke(app, ["train", str(recipe), *words])
    assert ended.exit_code == 0, ended.output
    return printed_losses(ended.stderr)


def begun(start: list[str], recipe: Path, *words: str, run: Path = Path("run")) -> "subprocess.Popen[str]":
    """A run that would take hours, past its third step, in the folder `run`."""
    command = [*start, str(recipe), *LONG, *words, "--run-dir", str(run)]
    process = subprocess.Popen(command, env=ENV, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    metrics, deadline = run / "metrics.jsonl", time.monotonic() + 180
    while not (metrics.is_file() and metrics.read_text().count("train/loss") >= 3):
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.1)
    return process


def printed_losses(text: str) -> list[str]:
    """The losses of a screen or a log, as printed."""
    return re.findall(r"^step \d+/\d+  loss (\S+)", text.replace("\r", "\n"), re.MULTILINE)


def ranks_of(folder: Path) -> dict[int, int]:
    """Rank -> process id of the runs that train in a folder; found by command line, environment and working folder."""
    import psutil

    found = {}
    for process in psutil.process_iter():
        try:
            line, env, here = process.cmdline(), process.environ(), Path(process.cwd()) == Path.cwd().resolve()
        except psutil.Error:
            continue
        if (
            here
            and "train" in line
            and str(folder) in line
            and "RANK" in env
            and (line[1:3] in (["-u", "-m"], ["-u", "-P"], ["-m", "launch"]) or TEMPER in line[:2])
        ):
            found[int(env["RANK"])] = process.pid
    return found
