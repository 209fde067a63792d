"""Two processes on this machine that add up one number: what every run of several ranks stands on.

As a module it is one of them; `all_reduce` starts both and says which failed, at what, and with which last words.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

RANKS = 2
ITSELF = (sys.executable, "-P", __file__)
"""Without the folder it is in, or the user's, on the path: either may have modules that torch would take for others."""


@dataclass(frozen=True, kw_only=True)
class Reduced:
    """What came of it."""

    backend: str
    """gloo or nccl."""
    seconds: float
    problem: str = ""
    """Which rank failed, at what, and its last line; empty where both had the right sum."""


def all_reduce(backend: str, timeout_s: float = 60.0, command: Sequence[str] = ITSELF) -> Reduced:
    """Let two processes sum 1 and 2; whoever is not done after `timeout_s` is ended. `command` starts one of them."""
    from trainers.world import free_port  # not above: a rank that is started has nothing of the suite on its path

    begin, port = time.monotonic(), str(free_port())
    with tempfile.TemporaryDirectory() as scratch:
        files = [Path(scratch) / f"rank{rank}" for rank in range(RANKS)]
        processes = [_start([*command, str(rank), backend, port], file) for rank, file in enumerate(files)]
        late = _wait(processes, begin + timeout_s)
        said = [file.read_text("utf-8", errors="replace").split("\n") for file in files]
    problems = [
        f"rank {rank} {f'not done after {timeout_s:.0f} s' if rank in late else 'failed'} {_last(lines)}"
        for rank, (process, lines) in enumerate(zip(processes, said, strict=True))
        if process.returncode
    ]
    return Reduced(backend=backend, seconds=time.monotonic() - begin, problem="; ".join(problems))


def _start(command: Sequence[str], file: Path) -> "subprocess.Popen[bytes]":
    with file.open("wb") as out:
        return subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)


def _wait(processes: Sequence["subprocess.Popen[bytes]"], until: float) -> list[int]:
    """The ranks that had to be ended: all that are left when one fails, which can't be done alone, or time is up."""
    while any(process.poll() is None for process in processes) and time.monotonic() < until:
        if any(process.poll() for process in processes):
            until = min(until, time.monotonic() + 1.0)
        time.sleep(0.05)
    late = [rank for rank, process in enumerate(processes) if process.poll() is None]
    for rank in late:
        processes[rank].kill()
        processes[rank].wait()
    return late


def _last(lines: Sequence[str]) -> str:
    """The phase a process was in, and its last line where that says more."""
    phase = next((line.removeprefix(MARK) for line in reversed(lines) if line.startswith(MARK)), "starting Python")
    words = [line.strip() for line in lines if line.strip() and not line.startswith(MARK)]
    return f"at {phase}" + (f" ({words[-1][:200]})" if words else "")


MARK = "phase: "


def _phase(text: str) -> None:
    print(MARK + text, flush=True)


def main(rank: int, backend: str, port: str) -> None:
    """One rank: meet the other, add, compare."""
    _phase("importing torch")
    import torch
    import torch.distributed as dist

    _phase("meeting the other rank over TCP")
    dist.init_process_group(backend, init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=RANKS)
    _phase("the all-reduce")
    value = torch.tensor(float(rank + 1), device=f"cuda:{rank}" if backend == "nccl" else "cpu")
    dist.all_reduce(value)
    found = value.item()
    dist.destroy_process_group()  # before anything is raised: its threads would have the last word
    if found != 3.0:
        raise SystemExit(f"1 + 2 came out as {found}")


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3])
