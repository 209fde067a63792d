"""When a run is killed, and what it was doing then: kill -9 of its whole process group."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, Literal

from eval_hooks.files import checkpoints, is_whole, whole_checkpoints
from launch.drill.compare import steps_logged
from trainers.rundir import read_status

Moment = Literal["step", "save", "evaluation"]
MOMENTS: Sequence[Moment] = ("step", "save", "evaluation")
POLL_S = 0.005


@dataclass(frozen=True, kw_only=True)
class Kill:
    """One kill, for the table."""

    moment: Moment
    """What it was aimed at."""
    reached: int
    """The last step that was logged."""
    whole: int
    """The newest checkpoint that was whole: where the next start has to go on from."""
    half: bool
    """Whether a half-written checkpoint was left behind."""


def kill_at(
    process: subprocess.Popen[bytes], run: Path, moment: Moment, last: int, left: int, rng: Random
) -> Kill | None:
    """Wait for a moment of a running process's run folder, kill its group, say what was left; None: it ended before.

    Of the steps still to come, but the `last`, as many are drawn as kills are `left`, and the first of them is meant,
    so that all have room; then a delay of up to a step. A save is caught when a folder appears, an evaluation when
    status.json says it; then a delay of up to a quarter of a second.
    """
    first = steps_logged(run)[-1] if steps_logged(run) else 0
    goal = min(rng.randint(min(first + 1, last - 1), last - 1) for _ in range(left))
    begin, since = time.monotonic(), time.time()
    signs: Mapping[Moment, Callable[[], Any]] = {
        "step": lambda: steps_logged(run)[-1:] >= [goal],
        "save": lambda: any(fresh_half(folder, since) for folder in checkpoints(run).values()),
        "evaluation": lambda: (status := read_status(run)).get("doing") and status["updated"] > since,
    }
    while not signs[moment]():
        if process.poll() is not None:
            return None
        time.sleep(POLL_S)
    time.sleep(rng.uniform(0, 0.25 if moment != "step" else min(2.0, (time.monotonic() - begin) / max(1, goal))))
    if process.poll() is not None:
        return None
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    there, logged = checkpoints(run), steps_logged(run)
    return Kill(
        moment=moment,
        reached=logged[-1] if logged else 0,
        whole=max(whole_checkpoints(run), default=0),
        half=any(not is_whole(folder) for folder in there.values()),
    )


def fresh_half(folder: Path, since: float) -> bool:
    """Whether a checkpoint is being written by a process that began after `since`, in seconds of the epoch."""
    try:
        return folder.stat().st_mtime > since and not is_whole(folder)
    except OSError:  # set aside in this moment
        return False
