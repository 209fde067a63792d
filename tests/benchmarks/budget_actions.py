"""What each action of the budget does to the forgetful recipe: its line in the log, and what is retained at the end.

Run alone, with Alpaca in $TEMPER_DATA (what replay mixes in); about two minutes a run on 2 cores:
    python -m tests.benchmarks.budget_actions [seeds, default 0] [actions, default all six]     # e.g. 0,1,2 report,replay,kl
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from scipy import stats

from tests.benchmarks.machine import machine

DATA = Path(os.environ.get("TEMPER_DATA") or Path(__file__).parents[3] / "shared" / "data")
ACTIONS = {
    "report": "",
    "stop": "",
    "roll_back": ", lr: {factor: 0.1}",
    "replay": f", replay: {{source: jsonl, path: {DATA}/alpaca_en_demo/alpaca_en_demo.jsonl.gz, n: 400, share: 0.5}}",
    "kl": ", kl: {weight: 1.0}",
    "lr": ", lr: {factor: 0.1}",
}
WORDS = ("train.max_steps=30", "eval.every=10", "eval.retain.0.limit=285", "eval.target=[]", "track=null")


def main() -> None:
    """One run a seed and action; retained: the paired change of the pocket bank at the end, in points."""
    seeds = [int(word) for word in (sys.argv[1] if len(sys.argv) > 1 else "0").split(",")]
    actions = sys.argv[2].split(",") if len(sys.argv) > 2 else list(ACTIONS)
    print(f"sft/forgetful, 30 steps, measured every 10 on 285 items, budget 5 points, {machine()}")
    first: list[float] = []
    for action in actions:
        kept = [once(action, seed) for seed in seeds]
        first = first or kept
        each = " ".join(f"{one:+.2f}" for one in kept)
        print(
            f"  {action:10} retained {np.mean(kept):+.1f} points ({each}){against(kept, first, actions[0])}", flush=True
        )


def against(kept: list[float], first: list[float], name: str) -> str:
    """In words, how much more is retained than by the first action at the same seeds: Student's interval of 95 %."""
    if len(kept) < 2 or kept is first:
        return ""
    more = np.subtract(kept, first)
    half = stats.t.ppf(0.975, len(more) - 1) * stats.sem(more)
    return f"; {more.mean():+.1f} against {name} ({more.mean() - half:+.1f} to {more.mean() + half:+.1f}, {len(more)} seeds)"


def once(action: str, seed: int) -> float:
    """Run, print what the budget logged, return the last change."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        budget = f"eval.budget={{accuracy_drop: 0.05, action: {action}{ACTIONS[action]}}}"
        command = [sys.executable, "-m", "launch", "train", "sft/forgetful", *WORDS, f"train.seed={seed}", budget]
        done = subprocess.run([*command, "--run-dir", str(run)], capture_output=True, text=True, check=False)
        if done.returncode not in (0, 3):
            raise RuntimeError(done.stderr[-2000:])
        lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text("utf-8").splitlines()]
        for line in lines:
            if "budget/reason" in line:
                print(f"    step {line['step']}: {line.get('budget/action')}: {line['budget/reason']}", flush=True)
        changes = [line["eval/pocket/retention/delta"] for line in lines if "eval/pocket/retention/delta" in line]
        return 100 * float(changes[-1])


if __name__ == "__main__":
    main()
