"""An sbatch file around `temper launch`: one task a machine, which starts that machine's ranks."""

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from launch.commands import Shape
from launch.problems import Problem, RecipeError, shown

DEFAULTS: dict[str, Any] = {
    "requeue": True,
    "open-mode": "append",
    "output": "slurm-%x-%j.out",
    "signal": "B:USR1@300",
    "time": "24:00:00",
}
"""Options of sbatch where the recipe's `launch.sbatch` says nothing.

Preempted: back into the queue, and the output goes on in the same file. Five minutes before the time limit the script
hears of it, and the run saves.
"""

CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")

BODY = """\
set -u
export MASTER_ADDR=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
export MASTER_PORT=$((20000 + SLURM_JOB_ID % 20000))

# Started first it begins, started again (requeued, or by hand) it goes on. Machines end together, or within --wait.
srun --kill-on-bad-exit=0 --wait=60 bash -c {task} &
step=$!
notice=no
trap 'notice=yes; kill -USR1 "$step"' USR1
trap 'kill -TERM "$step"' TERM
while :; do
  wait "$step"
  code=$?
  kill -0 "$step" 2>/dev/null || break    # wait also returns when a signal has come
done

# 143: saved because of the notice; the rest of the steps are for the same job's next turn.
if [ "$notice" = yes ] && [ "$code" -eq 143 ]; then
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
"""


def sbatch_file(
    name: str, recipe: str, words: Sequence[str], shape: Shape, options: Mapping[str, Any], run_dir: str | None
) -> str:
    """The file's text. `words` are the recipe's key=value words; `options` are sbatch's own, laid over DEFAULTS.

    Raises RecipeError for options that sbatch could not be given.
    """
    wrong = [
        (key, text)
        for key, value in {"job-name": name, **options}.items()
        if (text := option_problem(key, value) or _contradiction(key, value, shape))
    ]
    if wrong:
        raise RecipeError([Problem(path=f"launch.sbatch.{key}", text=text) for key, text in wrong])
    gpus = {"gpus-per-node": shape.nproc} if shape.on_gpu else {"cpus-per-task": shape.nproc}
    fixed = {"job-name": name, "nodes": shape.nnodes, "ntasks-per-node": 1, **gpus}
    lines = [f"#SBATCH --{key}{_value(value)}" for key, value in {**fixed, **DEFAULTS, **options}.items() if _on(value)]
    folder = shlex.quote(run_dir) if run_dir else f"{shlex.quote(f'runs/{name}')}-$SLURM_JOB_ID"
    start = shlex.join([sys.executable, "-m", "launch", "launch", recipe, *words, "--nproc", str(shape.nproc)])
    several = '--nnodes $SLURM_NNODES --node-rank $SLURM_NODEID --master "$MASTER_ADDR:$MASTER_PORT" '
    task = f"exec {start} {several if shape.nnodes > 1 else ''}--with torchrun --run-dir {folder} --resume"
    return "\n".join(["#!/bin/bash", *lines, "", BODY.format(task=shlex.quote(task))])


def option_problem(key: str, value: Any) -> str | None:
    """Why sbatch cannot be given an option; None where it can."""
    if not re.fullmatch(r"[a-z][a-z0-9-]*", key):
        return "an option of sbatch is written a-z, 0-9 and -, as `gpus-per-node`"
    if key == "wrap":
        return "the file is the program already; remove it"
    if value is not None and not isinstance(value, bool | int | float | str):
        return f"{shown(value)}: text, a number, true or false is due"
    if isinstance(value, str) and CONTROL.search(value):
        return f"{ascii(value)[:60]}: a line break or a control character, which would end the option; remove it"
    return None


def _contradiction(key: str, value: Any, shape: Shape) -> str | None:
    """How an option says another number of machines or ranks than the launch; None leaves the option out."""
    counts = {
        "nodes": (shape.nnodes, "launch.nnodes, or --nnodes"),
        "ntasks": (shape.nnodes, "launch.nnodes, or --nnodes"),
        "ntasks-per-node": (1, "launch.nproc, or --nproc: one task starts a machine's ranks"),
        "gpus-per-node": (shape.nproc, "launch.nproc, or --nproc"),
    }
    due, where = counts.get(key, (None, ""))
    said = str(value).rpartition(":")[2]  # a type may stand before the number: a100:8
    if due is None or value is None or (said.isdecimal() and int(said) == due):
        return None
    return f"{value}, and the launch is made for {due}; write {where}, and leave this out"


def _on(value: Any) -> bool:
    return value is not None and value is not False


def _value(value: Any) -> str:
    r"""As sbatch reads a line of options: \ takes any character as it is, in quotes too; an open # begins a comment."""
    text = str(value)
    if value is True or re.fullmatch(r"[\w.,:/@%+=-]+", text, re.ASCII):
        return "" if value is True else f"={text}"
    escaped = re.sub(r"""([\\"'#])""", r"\\\1", text)
    return f'="{escaped}"'


def submit(text: str) -> int:
    """Hand the file to sbatch, which says the job's number; returns its exit code. Raises RecipeError without one."""
    if shutil.which("sbatch") is None:
        raise RecipeError("--with slurm: no sbatch on this machine; --print shows the file, for one that has it")
    return subprocess.run(["sbatch"], input=text, text=True, check=False).returncode
