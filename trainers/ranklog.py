"""A rank's log: all that its process writes, in the run folder's logs/rank-R.log; rank 0's is on the screen too.

It is taken at the file descriptors, so that what C++ and child processes write is in it. `tee` copies, a process of its
own: the last words of a process that is killed are not lost, and a full disk costs the log and not the run.
"""

import io
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from eval_hooks.masking import masked_message
from eval_hooks.visible import visible
from trainers import announce, roll
from trainers.world import named, rank

TEE = """trap '' INT TERM USR1 HUP PIPE; exec tee -p -a "$0" """
"""Signals meant for the rank, and a screen that is gone, must not end the log."""
WAIT_S = 2.0
"""For `tee` to end; it does not where a process that the rank started holds the pipe."""
STREAMS = ("stdout", "stderr")


class RankLog:
    """From the start in a scratch file; `settle` moves it to the run folder once that is known."""

    def __init__(self) -> None:
        handle, name = tempfile.mkstemp(prefix=f"temper-rank-{rank()}-")
        os.close(handle)
        self.path = Path(name)
        self.settled = False
        self._kept = [os.dup(fd) for fd in (1, 2)]
        self._screens = [_screen(stream, kept) for stream, kept in zip(STREAMS, self._kept, strict=True)]
        self._tees: list[subprocess.Popen[bytes]] = []
        _keep_colours(self._screens[0])
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(line_buffering=True)  # so that lines stand in their order
        self._begin()

    def settle(self, folder: Path) -> None:
        """Go on in the run folder's logs/, after what an earlier start has left there."""
        if self.settled:
            return
        self._pause()
        target = folder / "logs" / f"rank-{rank()}.log"
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("rb") as source, target.open("ab") as sink:
                shutil.copyfileobj(source, sink)
            self.path.unlink()
            self.path, self.settled = target, True
        except OSError as error:
            announce(f"warning   {target}: {error.strerror}; this process's log is not kept")
        self._begin()

    def end(self) -> None:
        """Give the descriptors back; rank 0's last line is on the screen when this returns."""
        self._pause()
        if not self.settled:
            self.path.unlink()

    def say(self, text: str) -> None:
        """A line on the screen's standard error, whatever the rank."""
        os.write(self._kept[1], f"{visible(masked_message(text))}\n".encode())

    def _begin(self) -> None:
        self._tees = [_tee(fd, screen, self.path) for fd, screen in zip((1, 2), self._screens, strict=True)]

    def _pause(self) -> None:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        for fd, kept in zip((1, 2), self._kept, strict=True):
            os.dup2(kept, fd)
        for tee in self._tees:
            try:
                tee.wait(WAIT_S)
            except subprocess.TimeoutExpired:
                continue


_log: RankLog | None = None
"""The one of this process: descriptors 1 and 2 are the process's too."""


@contextmanager
def as_rank() -> Iterator[None]:
    """What surrounds a run that has a process of its own: its log, its line on the roll, signals before the first step.

    A signal then ends it with the code it would have later; there is nothing to save.
    """
    global _log
    _log, code = RankLog(), 1
    roll.enter()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a launcher may have been told to ignore it
    for number in (signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, _leave)
    try:
        yield
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1 if end.code else 0
        raise
    except Exception as error:
        announce(traceback.format_exc())
        failed(f"{type(error).__name__}: {error}")
        raise SystemExit(1) from None
    finally:
        roll.leave(code)
        _log.end()
        _log = None


def settle(folder: Path) -> None:
    """The run folder is known: the log goes there, and the launcher hears of it."""
    roll.note(folder=folder.resolve())
    if _log is not None:
        _log.settle(folder)


def failed(text: str) -> None:
    """Say what this rank ends with to the launcher, or on the screen where that is rank 0's alone."""
    roll.note(error=text)
    if _log is not None and rank() != 0 and roll.place() is None:
        where = f"; all of it in {_log.path}" if _log.settled else ""
        _log.say(f"{named()}: {text}{where}")


def _leave(number: int, frame: object) -> None:
    raise SystemExit(143)


def _tee(fd: int, screen: int, log: Path) -> "subprocess.Popen[bytes]":
    read, write = os.pipe()
    tee = subprocess.Popen(
        ["sh", "-c", TEE, str(log)], stdin=read, stdout=screen, stderr=subprocess.DEVNULL, start_new_session=True
    )
    os.dup2(write, fd)
    os.close(read)
    os.close(write)
    return tee


def _screen(stream: str, inherited: int) -> int:
    """Where a rank's output is seen: nowhere but for rank 0; that one's at the launcher's, if one waits."""
    if rank() != 0:
        return os.open(os.devnull, os.O_WRONLY)
    folder = roll.place()
    if folder is None or not (folder / stream).exists():
        return inherited
    try:
        pipe = os.open(folder / stream, os.O_WRONLY | os.O_NONBLOCK)  # it would wait for a launcher that is gone
    except OSError:
        return inherited
    os.set_blocking(pipe, True)
    return pipe


def _keep_colours(screen: int) -> None:
    """Through a pipe nobody sees a terminal any more: say so to those who ask the environment, as rich does."""
    if os.isatty(screen):
        os.environ.setdefault("FORCE_COLOR", "1")
        os.environ.setdefault("COLUMNS", str(os.get_terminal_size(screen).columns))
