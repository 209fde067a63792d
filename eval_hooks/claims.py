"""Who measures what, among processes that share a folder and nothing else.

A claim is a file made with O_EXCL, so that one of several gets it; it names host and process, and its time is set again
every BEAT_S as long as its holder lives. One that was not heard of for STALE_S is taken over by making the file of the
next number, which again one of several gets: nobody ever writes or removes the file of a living holder. Clocks of the
machines may differ by less than STALE_S - BEAT_S.
"""

import os
import platform
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from eval_hooks.errors import EvalError
from eval_hooks.files import read_json
from eval_hooks.json_text import json_text

STALE_S, BEAT_S = 120.0, 15.0


@contextmanager
def claimed(folder: Path, name: str, stale_s: float = STALE_S, beat_s: float = BEAT_S) -> Iterator[bool]:
    """Hold the claim on `name` of a folder while inside; gives False where somebody else holds it.

    What is claimed may have been done since it was looked at: look again inside. Raises EvalError for a folder that
    cannot be written.
    """
    files = _files(folder, name)  # of holders that went silent; the own one comes last
    held = bool(files) and _age(files[-1]) < stale_s
    files.append(folder / f".{name}.{_number(files[-1]) + 1 if files else 0}.claim")
    ended = threading.Event()
    heart = threading.Thread(target=_beat, args=(files[-1], ended, beat_s), daemon=True)
    mine = False
    try:
        mine = not held and _make(files[-1])
        if mine:
            heart.start()
        yield mine
    finally:
        if mine:
            ended.set()
            for file in files:
                file.unlink(missing_ok=True)


def _make(file: Path) -> bool:
    """Whether this process made the file, and nobody before it."""
    text = json_text({"host": platform.node(), "pid": os.getpid()})
    made = False
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("xb", buffering=0) as handle:
            made = True
            handle.write(text.encode())
    except OSError as error:
        if isinstance(error, FileExistsError) and file.parent.is_dir():
            return False
        if made:  # on a full disk there is a file, and nobody who would give it back
            file.unlink(missing_ok=True)
        raise EvalError(f"{file}: cannot be made: {error.strerror}; a watcher writes into the run folder") from error
    return True


def _beat(file: Path, ended: threading.Event, beat_s: float) -> None:
    while not ended.wait(beat_s):
        now = time.time()  # this machine's clock, which a network file system's own need not be
        try:
            os.utime(file, (now, now))
        except FileNotFoundError:
            return  # taken over while this machine slept


def holder(folder: Path, name: str) -> str | None:
    """Who holds a claim, in words: host, process, how long ago it was last heard of."""
    held = _files(folder, name)
    try:
        said, age = read_json(held[-1]), _age(held[-1])
        who = f"process {said['pid']} on {said['host']}"
    except (IndexError, FileNotFoundError, EvalError, KeyError):
        return None  # nobody, given back meanwhile, or being made
    return f"{who}, heard of {age:.0f} s ago"


def _files(folder: Path, name: str) -> list[Path]:
    return sorted(folder.glob(f".{name}.*.claim"), key=_number)


def _number(file: Path) -> int:
    return int(file.name.split(".")[-2])


def _age(file: Path) -> float:
    """Seconds since a claim was last heard of; none for one that is given back just now."""
    try:
        return time.time() - file.stat().st_mtime
    except FileNotFoundError:
        return 0.0
