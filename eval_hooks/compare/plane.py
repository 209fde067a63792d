"""What was won against what was kept: each model's change on its targets and on what it was to retain, since its start.

A model is dominated where another is at least as good on both and better on one; the rest are the Pareto front. That
order is one of values: the crosses say how far it can be trusted.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import sqrt
from typing import Any

from eval_hooks.estimate import Estimate
from eval_hooks.evaluations import Evaluation

ROLES = ("target", "retain")
SAME = 1e-9
"""Accuracies that differ by less are the same."""


@dataclass(frozen=True, kw_only=True)
class Point:
    """One model in the plane; up and to the right is better."""

    model: int
    target: Estimate
    """Mean change of its targets in the direction wanted, as a share."""
    retained: Estimate
    """Mean change of what it was to retain."""
    dominated: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def place(models: Sequence[Evaluation]) -> tuple[tuple[Point, ...], dict[int, str]]:
    """(points, model -> why it has none), from the paired changes in the summaries."""
    found: dict[int, tuple[Estimate, Estimate]] = {}
    left_out: dict[int, str] = {}
    for number, model in enumerate(models):
        changes = [_changes(model, role) for role in ROLES]
        lacking = [role for role, entries in zip(ROLES, changes, strict=True) if not entries]
        if lacking:
            left_out[number] = f"has no task to {lacking[0]}" if lacking == ["retain"] else f"has no {lacking[0]}"
        elif any(change is None for entries in changes for change in entries):
            left_out[number] = "was not paired with its start"
        else:
            target, retained = ([change for change in entries if change] for entries in changes)
            found[number] = mean_of(target), mean_of(retained)
    behind = dominated([(target.value or 0.0, retained.value or 0.0) for target, retained in found.values()])
    points = tuple(
        Point(model=number, target=target, retained=retained, dominated=flag)
        for (number, (target, retained)), flag in zip(found.items(), behind, strict=True)
    )
    return points, left_out


def _changes(model: Evaluation, role: str) -> list[Estimate | None]:
    """Change since the start of each task in a role, wanted direction up; a run's start itself has changed by 0."""
    tasks = [task for task in model.numbered().values() if task["role"] == role and _share(task)]
    is_start = model.folder.parent.name == "evals" and not any(task["retention"] for task in model.numbered().values())
    if is_start:
        return [Estimate(value=0.0, low=0.0, high=0.0, n=task["n"], method="the start itself") for task in tasks]
    return [_wanted(task) if task["retention"] else None for task in tasks]


def _share(task: Any) -> bool:
    """Whether the task is of right and wrong: points of other units are no points of this plane."""
    return (task.get("accuracy") or {}).get("value") is not None


def _wanted(task: Any) -> Estimate:
    change = Estimate(**task["retention"]["delta"])
    if task.get("goal", "up") == "up" or change.value is None or change.low is None or change.high is None:
        return change
    return Estimate(value=-change.value, low=-change.high, high=-change.low, n=change.n, method=change.method)


def starts(models: Sequence[Evaluation], among: Sequence[int]) -> dict[str, dict[int, float]]:
    """Task -> model -> accuracy at its start, of the tasks on which those models did not all start alike."""
    found: dict[str, dict[int, float]] = {}
    for number in among:
        for name, task in models[number].numbered().items():
            if not _share(task):
                continue
            change = task["retention"]["delta"]["value"] if task["retention"] else 0.0
            found.setdefault(name, {})[number] = task["accuracy"]["value"] - change
    return {name: each for name, each in found.items() if max(each.values()) - min(each.values()) > SAME}


def mean_of(changes: Sequence[Estimate]) -> Estimate:
    """Mean of independent estimates; its interval recovers their variances from their own intervals.

    low = mean - sqrt(sum (value - low)^2) / k, high alike (Zou and Donner 2008, Statistics in Medicine 27:1693).
    """
    if len(changes) == 1:
        return changes[0]
    k = len(changes)
    values, lows, highs = ([float(getattr(change, side)) for change in changes] for side in ("value", "low", "high"))
    mean = sum(values) / k
    return Estimate(
        value=mean,
        low=mean - sqrt(sum((v - bound) ** 2 for v, bound in zip(values, lows, strict=True))) / k,
        high=mean + sqrt(sum((v - bound) ** 2 for v, bound in zip(values, highs, strict=True))) / k,
        n=sum(change.n for change in changes),
        method=f"mean of {k} tasks, variances recovered from their intervals",
    )


def dominated(points: Sequence[tuple[float, float]]) -> list[bool]:
    """For each (target, retained): whether another is at least as good on both and better on one."""
    return [
        any(other[0] >= point[0] and other[1] >= point[1] and other != point for other in points) for point in points
    ]
