"""The roll: what each rank of a launched run says of itself, in a folder of the launcher that waits for it.

One file a rank: where it runs, the run folder, how it ended. A launcher such as torchrun knows only that some process
ended with some code; from the roll `temper launch` knows which rank failed first, on which host, and with what.
"""

import json
import os
import signal
import socket
import threading
import time
from pathlib import Path
from typing import Any

import psutil

from eval_hooks.json_text import json_text
from eval_hooks.masking import masked_message
from trainers.world import rank

ROLL = "TEMPER_ROLL"
"""Environment variable: the launcher's folder, on this machine."""
LAUNCHER = "TEMPER_LAUNCHER"
"""Environment variable: the launcher's process id."""
LOOK_S = 1.0
"""How often a rank looks whether its launcher is still there."""


def place() -> Path | None:
    """The launcher's folder; None where nobody waits for this process, or on another machine."""
    folder = Path(os.environ.get(ROLL) or "/nonexistent")
    return folder if folder.is_dir() else None


def enter() -> None:
    """Say that this rank has begun, and end with the launcher: a kill -9 of it reaches nobody else."""
    note()
    launcher = os.environ.get(LAUNCHER)
    if place() and launcher:
        threading.Thread(target=_end_with, args=(int(launcher),), daemon=True).start()


def note(**more: Any) -> None:
    """Add to what this rank says of itself: `folder`, `error`, `code` with `ended`."""
    folder = place()
    if folder is None:
        return
    file = folder / f"rank-{rank()}.json"
    more = {key: masked_message(value) if isinstance(value, str) else value for key, value in more.items()}
    before = {"rank": rank(), "host": socket.gethostname(), "pid": os.getpid()}
    if file.is_file():
        before = json.loads(file.read_text("utf-8"))
    scratch = folder / f".{rank()}"
    scratch.write_text(json_text({**before, **more}, default=str), "utf-8")
    os.replace(scratch, file)


def leave(code: int) -> None:
    """Say how this rank ended."""
    note(code=code, ended=time.time())


def entries(folder: Path) -> list[dict[str, Any]]:
    """What the ranks of this machine have said, in order of rank."""
    found = [json.loads(file.read_text("utf-8")) for file in folder.glob("rank-*.json")]
    return sorted(found, key=lambda entry: entry["rank"])


def alive(pid: int) -> bool:
    """Whether a process of this machine is at work; one that nobody has waited for yet is not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _end_with(launcher: int) -> None:
    while alive(launcher):
        time.sleep(LOOK_S)
    os.kill(os.getpid(), signal.SIGTERM)
