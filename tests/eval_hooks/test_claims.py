"""One of several gets a claim, and keeps it as long as it is heard of."""

import os
import resource
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from eval_hooks import EvalError
from eval_hooks.claims import STALE_S, claimed, holder


def free(folder: Path, stale_s: float = STALE_S) -> bool:
    """Whether somebody who asks now gets it; it is given back at once."""
    with claimed(folder, "step-4", stale_s) as mine:
        return mine


def silent(folder: Path, seconds: float = STALE_S + 1) -> None:
    """A claim whose holder was not heard of for so long."""
    file = folder / ".step-4.0.claim"
    file.parent.mkdir(exist_ok=True)
    file.write_text('{"host": "elsewhere", "pid": 7}')
    os.utime(file, (time.time() - seconds,) * 2)


def at_once(folder: Path, n: int = 16) -> int:
    """How many of n get it who all ask at the same moment and hold it until everybody has asked."""
    everybody = threading.Barrier(n)

    def ask(_: int) -> bool:
        with claimed(folder, "step-4") as mine:
            everybody.wait(30)
            return mine

    with ThreadPoolExecutor(n) as pool:
        return sum(pool.map(ask, range(n)))


def test_a_claim_is_had_once_and_again_when_it_is_given_back(tmp_path: Path) -> None:
    with (
        claimed(tmp_path, "step-4") as first,
        claimed(tmp_path, "step-4") as second,
        claimed(tmp_path, "step-40") as other,
    ):
        assert (first, second, other) == (True, False, True)
        assert f"process {os.getpid()} on " in (holder(tmp_path, "step-4") or "")
    assert holder(tmp_path, "step-4") is None and free(tmp_path) and not list(tmp_path.iterdir())


@pytest.mark.parametrize("before", [False, True], ids=["free", "silent"])
def test_one_of_many_gets_it(tmp_path: Path, before: bool) -> None:
    """Free, or left by a holder that is silent: 16 at once, twenty times over, and each time exactly one has it."""
    for number in range(20):
        folder = tmp_path / str(number)
        if before:
            silent(folder)
        assert at_once(folder) == 1
        assert not list(folder.iterdir())


def test_a_silent_claim_is_taken_over_after_the_stated_time(tmp_path: Path) -> None:
    silent(tmp_path, STALE_S - 5)
    assert not free(tmp_path)
    silent(tmp_path)
    with claimed(tmp_path, "step-4") as mine:
        assert mine and not free(tmp_path)
        assert sorted(file.name for file in tmp_path.iterdir()) == [".step-4.0.claim", ".step-4.1.claim"]


def test_an_error_inside_gives_it_back(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), claimed(tmp_path, "step-4"):
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())


def test_a_holder_is_heard_of_as_long_as_it_works(tmp_path: Path) -> None:
    """It beats every 0.05 s: after 0.6 s it is younger than 0.3 s. One that does not is free by then."""
    with claimed(tmp_path, "step-4", beat_s=0.05):
        time.sleep(0.6)
        assert not free(tmp_path, stale_s=0.3)
    with claimed(tmp_path, "step-4", beat_s=60):
        time.sleep(0.6)
        assert free(tmp_path, stale_s=0.3)


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "evals").write_text("")
    with pytest.raises(EvalError, match="a watcher writes into the run folder"):
        free(tmp_path / "evals")


def test_a_disk_without_room_leaves_no_claim_behind(tmp_path: Path) -> None:
    """The file is made and its line cannot be written; else all would wait STALE_S for a holder that never was."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))  # Python ignores the signal: the write fails
    try:
        with pytest.raises(EvalError, match="cannot be made"), claimed(tmp_path, "step-1"):
            raise AssertionError
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list(tmp_path.iterdir())
    with claimed(tmp_path, "step-1") as mine:
        assert mine
