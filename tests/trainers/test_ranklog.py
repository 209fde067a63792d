"""A rank's log: everything a process writes, also what is not Python's; and what it tells its launcher."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from trainers import roll

ROOT = Path(__file__).parents[2]
PROGRAM = """
import os, sys
from pathlib import Path
from trainers.ranklog import as_rank, failed, settle
with as_rank():
    print("before")
    settle(Path("run"))
    print("out")
    print("err", file=sys.stderr)
    os.write(2, b"from C\\n")
    os.system("echo from a child")
    {end}
"""


def run(end: str = "pass", **env: str) -> "subprocess.CompletedProcess[str]":
    started = {**os.environ, "PYTHONPATH": str(ROOT), **env}
    return subprocess.run(
        [sys.executable, "-c", PROGRAM.format(end=end)], env=started, capture_output=True, text=True, check=False
    )


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()


def log(rank: int) -> str:
    return Path(f"run/logs/rank-{rank}.log").read_text()


def test_the_first_rank_is_on_the_screen_and_in_its_log() -> None:
    done = run()
    assert done.returncode == 0
    assert done.stdout.splitlines() == ["before", "out", "from a child"]
    assert done.stderr.splitlines() == ["err", "from C"]
    assert sorted(log(0).split("\n")) == sorted(["before", "out", "err", "from C", "from a child", ""])
    assert not list(Path("tmp").iterdir())


def test_another_rank_is_in_its_log_alone_and_a_second_start_adds_to_it() -> None:
    for _ in range(2):
        done = run(RANK="1")
        assert (done.stdout, done.stderr) == ("", "")
    assert log(1).count("from C") == 2


def test_another_ranks_failure_is_on_the_screen_in_a_line_and_whole_in_its_log() -> None:
    done = run("raise ZeroDivisionError('no')", RANK="1")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("rank 1 on ") and "ZeroDivisionError: no; all of it in run/logs/rank-1.log" in line
    assert "Traceback" in log(1)


def test_the_last_words_of_a_process_that_is_killed_are_kept() -> None:
    done = run("os.write(2, b'last words'); os.kill(os.getpid(), 9)")
    assert done.returncode == -signal.SIGKILL
    assert done.stderr.endswith("last words")
    assert "last words" in log(0)  # each stream has a `tee` of its own: their order is not kept


@pytest.mark.parametrize(("number", "code"), [("SIGTERM", 143), ("SIGUSR1", 143)])
def test_a_signal_before_the_first_step_ends_with_its_code(number: str, code: int) -> None:
    assert run(f"import signal; os.kill(os.getpid(), signal.{number}); sys.exit(9)").returncode == code


def test_the_launcher_hears_where_and_how(tmp_path: Path) -> None:
    (tmp_path / "roll").mkdir()
    run("failed('a card fell off'); sys.exit(4)", RANK="1", **{roll.ROLL: str(tmp_path / "roll")})
    run(RANK="0", **{roll.ROLL: str(tmp_path / "roll")})
    first, second = roll.entries(tmp_path / "roll")
    assert (first["rank"], first["code"], Path(first["folder"])) == (0, 0, (tmp_path / "run").resolve())
    assert (second["rank"], second["code"], second["error"]) == (1, 4, "a card fell off")
    assert second["ended"] <= first["ended"] and second["host"]


def test_a_full_disk_costs_the_log_and_not_the_run(tmp_path: Path) -> None:
    """/dev/full takes nothing."""
    Path("run/logs").mkdir(parents=True)
    Path("run/logs/rank-0.log").symlink_to("/dev/full")
    done = run("print('still here')")
    assert done.returncode == 0 and "still here" in done.stdout
    assert "run/logs/rank-0.log: No space left on device; this process's log is not kept" in done.stderr


def test_without_a_launcher_nothing_is_noted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(roll.ROLL, str(tmp_path / "gone"))
    roll.note(code=0)
    assert roll.place() is None and not (tmp_path / "gone").exists()
    assert json.dumps(roll.entries(tmp_path)) == "[]"
