"""SmolLM2, as a person runs it: `temper train smoke/sft`, from an empty folder."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from eval_hooks.table import read_table

ROOT = Path(__file__).parents[1]


def temper(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "launch", *words]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=900)


def test_a_real_model_is_trained_measured_reported_and_loaded_again(tmp_path: Path, smollm2: Path) -> None:
    """The adapter saved at the end scores, loaded afresh by `temper eval`, as it did in the trainer.

    Without autocast: the trainer scores in the arithmetic it trains in, and the summary says which.
    """
    done = temper(tmp_path, "train", "smoke/sft", "train.bf16=false")
    assert done.returncode == 0, done.stderr
    for question in ("Target up?", "Knowledge kept?", "Still calibrated?"):
        assert question in done.stdout
    run = tmp_path / "runs" / "sft"
    for file in ("report.html", "report.png", "metrics.jsonl", "status.json", "data.manifest.json", "recipe.yaml"):
        assert (run / file).stat().st_size > 0
    assert list(run.glob("wandb/offline-run-*/*.wandb"))
    losses = [json.loads(line)["train/loss"] for line in (run / "metrics.jsonl").open() if "train/loss" in line]
    assert len(losses) == 4 and losses[-1] < losses[0]

    words = ["--task", "pocket", "--variant", "olmes_cf", "--shots", "0", "--limit", "12", "--out", "again"]
    again = temper(tmp_path, "eval", "runs/sft:4", *words)
    assert again.returncode == 0, again.stderr
    live, loaded = (read_table(f / "pocket.parquet") for f in (run / "evals" / "step-4", tmp_path / "again"))
    assert largest_gap(live, loaded) < 1e-3

    compared = temper(tmp_path, "compare", "runs/sft:4", "again")
    assert compared.returncode == 0 and "pocket" in compared.stdout, compared.stderr


def largest_gap(a: Any, b: Any) -> float:
    pairs = zip(a.column("logp").to_pylist(), b.column("logp").to_pylist(), strict=True)
    return max(abs(x - y) for left, right in pairs for x, y in zip(left, right, strict=True))
