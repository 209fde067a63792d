"""`temper plan --measure`: the recipe's first steps in a process of its own, whose peak memory is then theirs alone."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from launch.problems import RecipeError

WRONG_REQUEST = 2
START = "import sys; sys.path[:] = {path!r}; from launch.foresight.child import main; main()"
"""With this process's own path, so that it is this very package, whatever folder it is started in."""


def measure(name: str, words: Sequence[str], *, plugins: bool = True) -> Mapping[str, Any]:
    """What `trainers.memory.probe.probe` wrote; the run folder it needed is gone again.

    Raises RecipeError with the process's own words where it refused the recipe or failed.
    """
    with tempfile.TemporaryDirectory(prefix="temper-plan-") as scratch:
        start = START.format(path=sys.path)
        command = [sys.executable, "-P", "-c", start, scratch, "plugins" if plugins else "", name, *words]
        env = {**os.environ, "WANDB_MODE": "disabled"}
        done = subprocess.run(command, env=env, capture_output=True, text=True, errors="replace", check=False)
        file = Path(scratch) / "measured.json"
        if done.returncode == WRONG_REQUEST:
            raise RecipeError(done.stderr.strip().splitlines()[-1])
        if done.returncode or not file.is_file():
            tail = "\n".join(done.stderr.replace("\r", "\n").strip().splitlines()[-20:])
            raise RecipeError(f"--measure: the run of {name} failed (code {done.returncode}):\n{tail}")
        return json.loads(file.read_text("utf-8"))


def main() -> None:
    """The process: FOLDER plugins|"" RECIPE [key=value ...]."""
    from eval_hooks.masking import masked_message
    from launch.cli import people_errors
    from launch.load import load
    from trainers.memory.probe import probe

    folder, plugins, name, *words = sys.argv[1:]
    try:
        probe(load(name, words, plugins=bool(plugins)), Path(folder))
    except people_errors() as error:
        print(masked_message(" ".join(str(error).splitlines())), file=sys.stderr)
        raise SystemExit(WRONG_REQUEST) from None
