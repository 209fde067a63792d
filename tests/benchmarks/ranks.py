"""One rank with every core against two that share them: a step of the quickstart, and its evaluation.

Run alone:
    python -m tests.benchmarks.ranks [steps, default 12] [ZeRO, default zero2]
The same rows, the same global batch; a step's time is the median over the steps after the first two.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from tests.benchmarks.machine import machine
from tests.benchmarks.training_overhead import ended

WORDS = ("eval.target=[]", "eval.every=null", "data.validation=[]", "track=null", "train.logging_steps=1",
         "train.save_strategy=no")  # fmt: skip


def main() -> None:
    """Both, and how many times as fast two ranks are."""
    steps, zero = [*sys.argv[1:], *("12", "zero2")[len(sys.argv) - 1 :]]
    print(f"quickstart, {steps} steps, {zero}, {machine()}")
    one, two = (once(ranks, int(steps), zero) for ranks in (1, 2))
    for name, a, b in zip(("a step", "570 items of pocket"), one, two, strict=True):
        print(f"  {name}: 1 rank {a:.2f} s, 2 ranks {b:.2f} s, {a / b:.2f}x")


def once(ranks: int, steps: int, zero: str) -> tuple[float, float]:
    """Seconds of a step, and of the evaluation at the end."""
    env = {**os.environ, "OMP_NUM_THREADS": str(max((os.cpu_count() or 1) // ranks, 1)), "DS_ACCELERATOR": "cpu"}
    start = ["torch.distributed.run", "--standalone", "--nproc_per_node", str(ranks), "-m", "launch", "train"]
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        words = [*WORDS, f"train.max_steps={steps}", f"deepspeed={zero}", "--run-dir", str(run)]
        command = [sys.executable, "-m", *start, "quickstart", *words]
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(done.stderr[-2000:])
        ends = ended(run)
        summary = json.loads((run / "evals" / f"step-{steps}" / "summary.json").read_text("utf-8"))
        return median(b - a for a, b in zip(ends[1:], ends[2:], strict=False)), summary["tasks"]["pocket"]["seconds"]


if __name__ == "__main__":
    main()
