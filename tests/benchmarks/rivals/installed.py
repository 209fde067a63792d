"""A rival's own Python, made on demand, and its answers."""

import json
import os
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.benchmarks.rivals.asked import Table
from tests.benchmarks.rivals.catalog import Rival
from trainers.cache import cache_dir

HERE = Path(__file__).parent
TIMEOUT_S = 3600


class UnavailableError(Exception):
    """A rival that cannot be asked here, and why."""


def python_of(rival: Rival) -> Path:
    """The Python that has it: in the cache, made there where it is not yet. Raises UnavailableError."""
    if not rival.packages:
        return Path(sys.executable)
    folder = cache_dir() / "rivals" / rival.name
    python, stamp = folder / "bin" / "python", folder / "installed.txt"
    wanted = "\n".join(rival.packages)
    if not stamp.exists() or stamp.read_text("utf-8") != wanted:
        _run([sys.executable, "-m", "venv", "--clear", str(folder)], rival)
        how = ["install", "--quiet", "--disable-pip-version-check", "--retries", "1", "--timeout", "20"]
        bare = [] if rival.dependencies else ["--no-deps"]
        _run([str(python), "-m", "pip", *how, *bare, *rival.packages], rival)
        stamp.write_text(wanted, "utf-8")
    return python


def ask(rival: Rival, asked: Mapping[str, Sequence[Table]], margin: float) -> dict[str, dict[str, Any]]:
    """Words and seconds of each of its rules, in the order of the tables. Raises UnavailableError."""
    python = python_of(rival)
    with tempfile.TemporaryDirectory() as folder:
        request, answers = Path(folder) / "request.json", Path(folder) / "answers.json"
        request.write_text(json.dumps({"margin": margin, "asked": asked}), "utf-8")
        _run([str(python), str(HERE / rival.script), str(request), str(answers)], rival, folder)
        return json.loads(answers.read_text("utf-8"))


def _run(command: list[str], rival: Rival, folder: str | None = None) -> None:
    """Run to the end, away from our own modules. Raises UnavailableError with the last line it printed."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {"OMP_NUM_THREADS": "1"}
    if rival.borrows:
        env["PYTHONPATH"] = sysconfig.get_path("purelib")
    try:
        done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=TIMEOUT_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UnavailableError(str(error)) from error
    if done.returncode:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:]
        what = command[2] if command[1] == "-m" else Path(command[1]).name
        raise UnavailableError(f"{what}: {''.join(last) or f'code {done.returncode}'}")
