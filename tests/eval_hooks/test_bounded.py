"""Functions in a process that can be killed: what ends an item, and that nothing else ends with it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

import eval_hooks.bounded.client as client
from eval_hooks import EvalError
from eval_hooks.bounded import Call, Outcome, run_bounded

SLOW_MACHINE_S = 120.0
EVALUATOR = "def make(*setup):\n    return lambda text: eval(text)\n"


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """Evaluates Python, which can do all that a text could bring a judge to do."""
    (tmp_path / "evaluator.py").write_text(EVALUATOR)
    monkeypatch.syspath_prepend(tmp_path)
    return Call(module="evaluator", factory="make", setup=(str(tmp_path),), cpu_s=0.2)


def outcomes(call: Call, *texts: str) -> list[Outcome]:
    return run_bounded(call, [(text,) for text in texts])


def gone(pid: int) -> bool:
    """Whether a process has ended, within a generous while."""
    until = time.monotonic() + SLOW_MACHINE_S
    while time.monotonic() < until:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.02)
    return False


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("9**9**9", "took over 0.2 s of CPU"),
        ("__import__('math').factorial(9999999)", "took over 0.2 s of CPU"),
        ("__import__('re').match('(a|aa)+$', 'a' * 60 + '!')", "took over 0.2 s of CPU"),
        ("sum(1 for _ in iter(int, 1))", "took over 0.2 s of CPU"),
        ("bytearray(3 << 30)", "asked for more than 1 GiB of memory"),
        ("(lambda f: f(f))(lambda f: f(f))", "is nested too deeply"),
        ("'x' * 70000", "gave 70,013 characters where 65,536 are allowed"),
        ("__import__('os').abort()", "ended its process (SIGABRT)"),
        ("__import__('os')._exit(3)", "ended its process (status 3)"),
    ],
)
def test_an_item_beyond_its_limits_is_ended_and_the_ones_around_it_are_not(call: Call, text: str, limit: str) -> None:
    before, ended, after = outcomes(call, "1 + 1", text, "'\\ud800 \\n'")
    assert ended == Outcome(killed=limit)
    assert (before.value, after.value) == (2, "\ud800 \n")


def test_by_the_clock_an_item_that_only_waits_is_ended_too(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "WALL", 5)
    assert outcomes(call, "__import__('time').sleep(3600)", "2") == [
        Outcome(killed="gave no answer in 1 s"), Outcome(value=2)]  # fmt: skip


def test_an_error_is_the_items_own_and_what_cannot_be_had_is_nobodys(call: Call, tmp_path: Path) -> None:
    assert outcomes(call, "[].pop()", "{1}", "1")[0].error == "IndexError: pop from empty list"
    assert outcomes(call, "{1}")[0].error.startswith("TypeError")  # not JSON
    with pytest.raises(EvalError, match="make: cannot be had in a process of its own.*No module named 'nowhere'"):
        run_bounded(Call(module="nowhere", factory="make"), [])
    (tmp_path / "leaving.py").write_text("raise SystemExit(0)")
    with pytest.raises(EvalError, match="SystemExit"):
        run_bounded(Call(module="leaving", factory="make"), [("1",)])
    assert outcomes(call, "3")[0].value == 3


def test_the_worker_is_kept_and_one_that_somebody_killed_is_replaced(call: Call) -> None:
    first, again = (outcomes(call, "__import__('os').getppid()")[0].value for _ in range(2))
    assert first == again != os.getpid()
    os.kill(first, signal.SIGKILL)
    assert gone(first)
    assert outcomes(call, "__import__('os').getppid()")[0].value not in (first, None)


def test_a_flood_of_such_items_gets_less_time_each(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "PATIENCE", 2)
    found = outcomes(call, *["9**9**9"] * (client.PATIENCE + 2), "1")
    limits = [one.killed for one in found]
    assert limits[client.PATIENCE - 1] == "took over 0.2 s of CPU"
    assert limits[client.PATIENCE] == "took over 0.02 s of CPU" and found[-1].value == 1


def test_signals_for_the_rank_do_not_end_the_worker_and_it_holds_none_of_its_files(call: Call) -> None:
    pid = outcomes(call, "__import__('os').getppid()")[0].value
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP):
        os.kill(pid, number)
    assert outcomes(call, "__import__('os').getppid()")[0].value == pid
    assert os.getsid(pid) == pid != os.getsid(0)
    kinds = {str(file.readlink()) for file in Path(f"/proc/{pid}/fd").iterdir()}
    assert {kind.partition(":")[0] for kind in kinds} <= {"/dev/null", "socket"}, kinds


def test_a_judge_that_is_interrupted_leaves_no_worker_in_the_middle_of_something(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    pid = outcomes(call, "__import__('os').getppid()")[0].value

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(client._Worker, "_reply", interrupted)
        outcomes(call, "1")
    assert gone(pid) and outcomes(call, "4")[0].value == 4


DYING = """
import os, sys, threading, time
from eval_hooks.bounded import Call, run_bounded
call = Call(module="evaluator", factory="make", cpu_s=60)
print(run_bounded(call, [("__import__('os').getppid()",)])[0].value, flush=True)
if os.fork() == 0:  # as the workers of a data loader are
    print(run_bounded(call, [("5",)])[0].value, flush=True)
    time.sleep(60)
    os._exit(0)
threading.Thread(target=run_bounded, args=(call, [("__import__('time').sleep(600)",)])).start()
time.sleep(60)
"""


def test_no_worker_outlives_its_process_nor_does_a_fork_use_or_keep_it(tmp_path: Path) -> None:
    """Not even where the process is killed in the middle of a judgement, without standard streams of its own."""
    (tmp_path / "evaluator.py").write_text(EVALUATOR)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(Path(client.__file__).parents[2])])}
    process = subprocess.Popen(
        [sys.executable, "-c", DYING], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env=environment, text=True
    )
    assert process.stdout is not None
    worker = int(process.stdout.readline())
    assert process.stdout.readline() == "5\n"
    forked = [child for child in psutil.Process(process.pid).children() if child.pid != worker]
    process.kill()
    process.wait()
    assert gone(worker)
    for child in forked:
        child.kill()
    process.stdout.close()


CLOSED = """
import os, sys
os.closerange(0, 3)
from eval_hooks.bounded import Call, run_bounded
found = run_bounded(Call(module="evaluator", factory="make"), [("1 + 1",)])
open(sys.argv[1], "w").write(repr(found[0].value))
"""


def test_a_process_without_standard_streams_has_a_worker_as_any_other(tmp_path: Path) -> None:
    """Its socket would get the number 0, which the worker's stdin takes."""
    (tmp_path / "evaluator.py").write_text(EVALUATOR)
    path = os.pathsep.join([str(tmp_path), str(Path(client.__file__).parents[2])])
    command = [sys.executable, "-c", CLOSED, str(tmp_path / "found")]
    subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, check=True, timeout=SLOW_MACHINE_S)
    assert (tmp_path / "found").read_text() == "2"
