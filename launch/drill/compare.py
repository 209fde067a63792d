"""Whether a run that was broken off and resumed is the unbroken one."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from eval_hooks.files import checkpoints, evaluations, json_lines, summary_of
from eval_hooks.sinks import AXIS
from eval_hooks.wandb_files import run_folders, shown

KEYS = ("train/loss", "train/grad_norm", "train/learning_rate")
TOLERANCE = 1e-4
"""Relative, of losses on another number of ranks; measured are about 2e-6."""


def steps_logged(run: Path) -> list[int]:
    """Steps whose loss was logged, in order of logging."""
    return [line["step"] for line in json_lines(run / "metrics.jsonl") if "train/loss" in line]


def findings(unbroken: Path, drilled: Path, exact: bool) -> Iterator[tuple[str, str, bool]]:
    """(what, in words, whether it is as it should be) of everything a resumed run has to keep.

    `exact`: to the bit; else losses within TOLERANCE, and weights are not compared.
    """
    a, b = (_curve(run) for run in (unbroken, drilled))
    steps = [step for step, _ in b]
    yield "steps", f"{len(steps)} of {len(a)}, each once", steps == [step for step, _ in a]
    for key in KEYS:
        pairs = [(x.get(key), y.get(key)) for (_, x), (_, y) in zip(a, b, strict=False)]
        gaps = [abs(x - y) / max(abs(x), 1e-12) for x, y in pairs if x is not None and y is not None]
        worst = max(gaps, default=math.inf)
        same = worst == 0 if exact else worst < TOLERANCE or key == "train/grad_norm"
        yield key, f"largest relative difference {worst:.1e}", same
    if exact:
        yield from _weights(unbroken, drilled)
        yield from _evaluations(unbroken, drilled)
    yield from _wandb(drilled, {step for step, _ in a})


def _wandb(run: Path, steps: set[int]) -> Iterator[tuple[str, str, bool]]:
    """One W&B run, which has every step whatever its process had written when it was killed."""
    ids = {folder.run_id for folder in run_folders(run)}
    for number in sorted(ids):
        there = {step for step, key in shown(run, number, AXIS) if key == "train/loss"}
        yield "W&B", f"run {number} has {len(there)} of {len(steps)} steps", len(ids) == 1 and there >= steps


def _curve(run: Path) -> list[tuple[int, dict[str, Any]]]:
    return [(line["step"], line) for line in json_lines(run / "metrics.jsonl") if "train/loss" in line]


def _weights(unbroken: Path, drilled: Path) -> Iterator[tuple[str, str, bool]]:
    import torch
    from safetensors.torch import load_file

    ends = [list(checkpoints(run).values())[-1:] for run in (unbroken, drilled)]
    if not all(ends):
        yield "weights", "no checkpoint", False
        return
    one, other = (
        {key: value for file in sorted(end[0].glob("*.safetensors")) for key, value in load_file(file).items()}
        for end in ends
    )
    same = one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)
    yield "weights", f"{len(one)} tensors of {ends[0][0].name}", bool(one) and same


def _evaluations(unbroken: Path, drilled: Path) -> Iterator[tuple[str, str, bool]]:
    one, other = (
        {step: _measured(summary_of(folder)) for step, folder in evaluations(run).items()}
        for run in (unbroken, drilled)
    )
    yield "evaluations", f"{len(other)} of {len(one)}", one == other


def _measured(summary: dict[str, Any]) -> dict[str, Any]:
    """A summary without what clocks say."""
    timed = ("seconds", "seconds_saved")
    tasks = {
        name: {key: value for key, value in entry.items() if key not in timed}
        for name, entry in summary.get("tasks", {}).items()
    }
    return {"tasks": tasks, "validation": summary.get("validation")}
