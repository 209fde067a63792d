"""The side that asks: one worker a process, its limits, and what became of each item."""

import atexit
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eval_hooks.bounded.worker import LONGEST, OUT_OF_MEMORY
from eval_hooks.errors import EvalError
from eval_hooks.json_text import json_text

CPU_S = 5.0
"""Seconds of CPU that one item may take; an ordinary answer takes milliseconds."""
WALL = 12
"""Times that, by the clock: for a machine that many share, and for a function that waits and does not compute."""
MEMORY = 1 << 30
"""Bytes that an item may ask for, above what the worker's imports take."""
PATIENCE = 6
"""Items of one call that may use up their time; the ones after them get a tenth of it, so that a model that writes
nothing else any more is slow and not endless."""
START_S = 300.0
"""For the worker to import what it is asked for: a plugin may import torch, on a busy machine."""
WORKER = Path(__file__).with_name("worker.py")


@dataclass(frozen=True, kw_only=True)
class Call:
    """A function as a fresh process can have it: what `module.factory(*setup)` returns; from JSON to JSON."""

    module: str
    factory: str
    setup: tuple[str, ...] = ()
    cpu_s: float = CPU_S


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one item: a value, or else an error or a limit."""

    value: Any = None
    error: str = ""
    """What the function raised."""
    killed: str = ""
    """The limit that was passed, as `took over 5 s of CPU`."""


def run_bounded(call: Call, items: Sequence[Sequence[Any]]) -> list[Outcome]:
    """The function's outcome on every item, each within limits of its own.

    Raises EvalError where the function cannot be had at all: that is nobody's answer.
    """
    outcomes: list[Outcome] = []
    with _lock:
        while True:
            lost = sum(bool(outcome.killed) for outcome in outcomes)
            cpu_s = call.cpu_s if lost < PATIENCE else call.cpu_s / 10
            worker = _running()
            try:
                worker.ask(call, items[len(outcomes) :], cpu_s, outcomes)
            except BaseException:  # an interrupted worker is in the middle of something
                _replace(None)
                raise
            if len(outcomes) >= len(items):
                return outcomes


class _Worker:
    """A process, which forks one more to judge, and the socket to them."""

    def __init__(self) -> None:
        self.socket, theirs = map(_above_the_streams, socket.socketpair())
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-P", str(WORKER), str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,  # the rank's own would stay open behind it
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        self.replies = self.socket.makefile("rb")

    def ask(self, call: Call, items: Sequence[Sequence[Any]], cpu_s: float, outcomes: list[Outcome]) -> None:
        """Append the outcomes, up to and with the first item that had to be ended."""
        request = {"path": sys.path, "call": [call.module, call.factory, call.setup], "cpu_s": cpu_s, "memory": MEMORY,
                   "items": items}  # fmt: skip
        self._begin(call, json_text(request, default=str).encode() + b"\n")
        wall_s = cpu_s * WALL
        done = len(outcomes) + len(items)
        while isinstance(reply := self._reply(wall_s), dict) and "ended" not in reply:
            outcomes.append(Outcome(**reply))
        if not isinstance(reply, dict):  # by the clock, or somebody killed the worker itself
            _replace(None)
        if len(outcomes) < done:
            status = reply["ended"] if isinstance(reply, dict) else self.process.returncode
            said = "" if isinstance(reply, dict) else reply
            outcomes.append(Outcome(killed=said or _limit(status, cpu_s)))

    def _begin(self, call: Call, request: bytes) -> None:
        """Hand the request over and wait until its function is there."""
        self.socket.settimeout(START_S)
        with suppress(OSError):  # the reply says it
            self.socket.sendall(request)
        reply = self._reply(START_S)
        text = reply.get("failed") if isinstance(reply, dict) else reply or "its process ended"
        if text:
            named = " ".join((call.factory, *filter(None, call.setup)))
            raise EvalError(f"{named}: cannot be had in a process of its own, which judges answers: {text}")

    def _reply(self, wall_s: float) -> dict[str, Any] | str:
        """The next line; else, what kept it away: "" where the process has ended."""
        self.socket.settimeout(wall_s)
        try:
            line = self.replies.readline(LONGEST + 2)
            return json.loads(line) if line.endswith(b"\n") else ""
        except TimeoutError:
            return f"gave no answer in {wall_s:.3g} s"
        except (OSError, ValueError):  # reset, or half a line: it ended in the middle of something
            return ""

    def end(self) -> None:
        """Kill it with all that it started, and wait for that."""
        if self.process.returncode is None:  # else its number may be another's by now
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)
        self.let_go()
        self.process.wait()

    def let_go(self) -> None:
        """Close this process's end of the socket."""
        self.replies.close()
        self.socket.close()


def _above_the_streams(end: socket.socket) -> socket.socket:
    """The same socket under a number above 2: where stdin is closed it would have got that one, to be overwritten."""
    number = fcntl.fcntl(end.fileno(), fcntl.F_DUPFD_CLOEXEC, 3)
    end.close()
    return socket.socket(fileno=number)


def _limit(status: int | None, cpu_s: float) -> str:
    """The limit that ended a process, in words."""
    if status == -signal.SIGPROF:
        return f"took over {cpu_s:.3g} s of CPU"
    if status == OUT_OF_MEMORY:
        return f"asked for more than {MEMORY >> 30} GiB of memory"
    if status is not None and status < 0:
        return f"ended its process ({signal.Signals(-status).name})"
    return f"ended its process (status {status})"


_lock = threading.Lock()
_worker: _Worker | None = None
"""The one of this process."""


def _running() -> _Worker:
    if _worker is None or _worker.process.poll() is not None:  # somebody may have killed it since
        _replace(_Worker())
    assert _worker is not None
    return _worker


def _replace(worker: _Worker | None) -> None:
    global _worker
    if _worker is not None:
        _worker.end()
    _worker = worker


def _forget() -> None:
    """A forked process has none; its copy of the socket would keep the parent's alive."""
    global _lock, _worker
    if _worker is not None:
        _worker.let_go()
    _lock, _worker = threading.Lock(), None


os.register_at_fork(after_in_child=_forget)
atexit.register(_replace, None)
