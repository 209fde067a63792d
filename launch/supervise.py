"""Waits for the ranks that a launcher started: shows rank 0, passes signals on, ends all when one has failed.

torchrun, deepspeed and accelerate say of a run only that a process ended with some code, each in forty lines of its
own, and each has its own way of ending it at a signal. So they are started apart, their words go to a file, and what
counts is what the ranks themselves say (trainers/roll.py).
"""

import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from launch.commands import Command
from trainers import announce_all
from trainers.ranklog import STREAMS
from trainers.roll import LAUNCHER, ROLL, alive, entries
from trainers.rundir import read_status, set_status

FAILED, INTERRUPTED, TERMINATED, WRONG_REQUEST = 4, 130, 143, 2
TOGETHER = (0, 3, INTERRUPTED, TERMINATED)
"""Codes with which all ranks end at the same step; any other one is a failure of the rank that has it first."""
LOOK_S = 0.2
GRACE_S = 15.0
"""What the other ranks get after one has failed, to notice it and to write what they know; then they are killed."""
TAIL = 30
"""Lines of the launcher's own words that are shown where no rank has said anything."""


@dataclass(kw_only=True)
class Watched:
    """A launcher at work and what is known of its ranks."""

    folder: Path
    process: "subprocess.Popen[bytes]"
    died: dict[int, float] = field(default_factory=dict)
    """Rank -> when it was seen to be gone without having said a code."""
    bad_since: float | None = None
    asked: int = 0
    """Exit code of the signal that was passed on; 0: none was."""
    signals: int = 0

    def ranks(self) -> list[dict[str, Any]]:
        """The ranks that have not ended."""
        return [entry for entry in entries(self.folder) if "code" not in entry and alive(entry["pid"])]

    def kill(self) -> None:
        """End everything at once."""
        for pid in [*(entry["pid"] for entry in self.ranks()), self.process.pid]:
            _send(pid, signal.SIGKILL)


def supervise(command: Command) -> int:
    """Start it, wait for its end, and return the run's own exit code.

    A failure is named with its rank and host, on the screen and in status.json.
    """
    with tempfile.TemporaryDirectory(prefix="temper-launch-") as name:
        folder = Path(name)
        own = folder / "launcher.log"
        env = {**os.environ, **command.env, ROLL: name, LAUNCHER: str(os.getpid())}
        with _screens(folder), own.open("wb") as log:
            before = signal.signal(signal.SIGUSR1, signal.SIG_IGN)  # Slurm sends it to everybody: launchers would die
            process = subprocess.Popen(
                command.argv, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
            signal.signal(signal.SIGUSR1, before)
            watched = Watched(folder=folder, process=process)
            with _signals(watched):
                _wait(watched)
        return _conclude(watched, own)


def _wait(watched: Watched) -> None:
    told = False
    while watched.process.poll() is None or watched.ranks():
        time.sleep(LOOK_S)
        _look(watched)
        if watched.process.poll() is not None and not told:  # somebody has killed it: its ranks save and end
            told = True
            for entry in watched.ranks():
                _send(entry["pid"], signal.SIGTERM)
        if watched.bad_since and time.time() - watched.bad_since > GRACE_S:
            for entry in watched.ranks():
                _send(entry["pid"], signal.SIGKILL)
            if time.time() - watched.bad_since > 2 * GRACE_S:
                watched.kill()
    _look(watched)


def _look(watched: Watched) -> None:
    """Notice who has failed since the last time."""
    for entry in entries(watched.folder):
        if "code" not in entry and not alive(entry["pid"]) and "code" not in _again(watched.folder, entry):
            watched.died.setdefault(entry["rank"], time.time())
        if watched.bad_since is None and (entry["rank"] in watched.died or entry.get("code", 0) not in TOGETHER):
            watched.bad_since = time.time()


def _again(folder: Path, entry: dict[str, Any]) -> dict[str, Any]:
    """The entry once more: a rank may have said its code and gone between the two looks."""
    return next(other for other in entries(folder) if other["rank"] == entry["rank"])


def _send(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


@contextmanager
def _signals(watched: Watched) -> Iterator[None]:
    """Pass signals on to the ranks themselves, which save and end; a third one kills."""

    def pass_on(number: int, frame: FrameType | None) -> None:
        watched.signals += 1
        watched.asked = INTERRUPTED if number == signal.SIGINT else TERMINATED
        if watched.signals > 2:
            watched.kill()
            return
        ranks = watched.ranks()
        for entry in ranks:
            _send(entry["pid"], number)
        if not ranks:
            _send(watched.process.pid, signal.SIGTERM)

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
    before = {number: signal.signal(number, pass_on) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _screens(folder: Path) -> Iterator[None]:
    """Pipes by name for what rank 0 shows, copied to this process's standard output and error."""
    over, threads = threading.Event(), []
    for stream, file in zip(STREAMS, (sys.stdout, sys.stderr), strict=True):
        file.flush()
        os.mkfifo(folder / stream)
        pipe = os.open(folder / stream, os.O_RDWR | os.O_NONBLOCK)  # for writing too, so that it never ends
        threads.append(threading.Thread(target=_copy, args=(pipe, STREAMS.index(stream) + 1, over), daemon=True))
        threads[-1].start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()


def _copy(pipe: int, to: int, over: threading.Event) -> None:
    while True:
        waiting, _, _ = select.select([pipe], [], [], LOOK_S)
        if waiting:
            piece = os.read(pipe, 1 << 16)
            while piece:
                piece = piece[os.write(to, piece) :]
        elif over.is_set():
            os.close(pipe)
            return


def _conclude(watched: Watched, own: Path) -> int:
    """The run's exit code; what failed is said here, where rank 0 has not said it."""
    ranks = entries(watched.folder)
    if not ranks:
        if not watched.asked:
            _say("\n".join(own.read_text("utf-8", errors="replace").splitlines()[-TAIL:]))
        return watched.asked or WRONG_REQUEST
    culprit = _first_failure(watched, ranks)
    if culprit is None:
        return int(ranks[0]["code"])
    if watched.asked and (watched.signals > 1 or "code" not in culprit):
        return watched.asked  # it was to end at once, so anything may have broken
    code, text = culprit.get("code", FAILED), culprit.get("error") or "ended without a word: killed, or out of memory"
    said = f"rank {culprit['rank']} on {culprit['host']}: {text}"
    if code != WRONG_REQUEST or text not in [entry.get("error") for entry in ranks if entry["rank"] == 0]:
        _say(f"failed    {said}" + (f"; its log: {_log_of(culprit)}" if culprit.get("folder") else ""))
    if culprit.get("folder") and code != WRONG_REQUEST:
        _into_status(Path(culprit["folder"]), culprit, said)
    return int(code)


def _first_failure(watched: Watched, ranks: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The rank that failed first; the others fail from losing it.

    Who says nothing is noticed only when looked for, a little after those that lost it have said so.
    """
    failed = [
        {**entry, "at": entry["ended"] if "code" in entry else watched.died[entry["rank"]] - 1.0}
        for entry in ranks
        if entry["rank"] in watched.died or entry.get("code", 0) not in TOGETHER
    ]
    return min(failed, key=lambda entry: entry["at"], default=None)


def _log_of(entry: dict[str, Any]) -> Path:
    return Path(entry["folder"]) / "logs" / f"rank-{entry['rank']}.log"


def _into_status(folder: Path, culprit: dict[str, Any], said: str) -> None:
    """Name the rank in status.json, unless another machine's launcher knows of an earlier one."""
    known = read_status(folder).get("failed")
    if known is None or culprit["at"] < known["at"]:
        found = {key: culprit[key] for key in ("rank", "host", "at")}
        set_status(folder, "failed", FAILED, error=said, failed=found)


def _say(text: str) -> None:
    announce_all(text)
