"""The cube behind every number: runs x checkpoints x items, for each task and metric, checked to be comparable."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from eval_hooks.errors import EvalError
from eval_hooks.evaluations import Evaluation, same_prompts
from eval_hooks.retention import paired
from eval_hooks.table import read_table
from eval_hooks.variance.metrics import Metric, metrics

ALIGNED = 0.25
"""How far apart, as a share, runs may be in tokens seen at one step: batches of other rows differ a little."""

SEEDS = "the same items are needed in every run: is their seed among those that changed?"


@dataclass(frozen=True, kw_only=True)
class Cube:
    """One task of all runs: metrics[m][t] are those of run m at checkpoint t."""

    task: str
    steps: tuple[int, ...]
    item_ids: tuple[str, ...]
    metrics: tuple[tuple[dict[str, Metric], ...], ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Metrics that every evaluation has."""
        each = [found for run in self.metrics for found in run]
        return tuple(name for name in each[0] if all(name in found for found in each))

    def values(self, name: str) -> np.ndarray:
        """A metric of every item, (runs, checkpoints, n)."""
        return np.array([[found[name].values for found in run] for run in self.metrics])

    def scores(self, name: str) -> np.ndarray:
        """A metric's means, (runs, checkpoints)."""
        return np.array([[found[name].score for found in run] for run in self.metrics])


def shared_steps(runs: Sequence[Sequence[Evaluation]]) -> tuple[int, ...]:
    """Steps at which every run was evaluated, in order.

    Raises EvalError where there is none, and where the tokens seen by then are far apart.
    """
    by_step = [{int(one.summary["step"]): one for one in run} for run in runs]
    steps = tuple(sorted(set.intersection(*(set(found) for found in by_step))))
    if not steps:
        said = "; ".join(f"{_home(run[0])} at {', '.join(map(str, found))}" for run, found in
                         zip(runs, by_step, strict=True))  # fmt: skip
        raise EvalError(f"the runs share no evaluated step: {said}")
    for step in steps:
        tokens = {_home(found[step]): found[step].summary.get("tokens") for found in by_step}
        seen = [count for count in tokens.values() if count]
        if seen and max(seen) > (1 + ALIGNED) * min(seen):
            said = ", ".join(f"{run} {count:,}" for run, count in tokens.items() if count)
            raise EvalError(f"step {step} is not the same place in the runs: tokens seen are {said}")
    return steps


def cube(task: str, runs: Sequence[Sequence[Evaluation]], steps: Sequence[int]) -> Cube:
    """A task's or validation set's tables, all of them.

    Raises EvalError for other prompts, other items, and scores that are no number.
    """
    chosen = [[one for step in steps for one in run if one.summary["step"] == step] for run in runs]
    first = _table(task, chosen[0][0])
    measured = []
    for run in chosen:
        rows = []
        for one in run:
            same_prompts(task, chosen[0][0], one, SEEDS)
            table = _table(task, one)
            try:
                paired(first, table)
            except EvalError as error:
                raise EvalError(f"{task}: {chosen[0][0].folder} and {one.folder}: {error}") from error
            found = metrics(table, one.tasks().get(task, {}).get("goal") or "up")
            _numbers(task, one, table, found)
            rows.append(found)
        measured.append(tuple(rows))
    ids = tuple(first.column("item_id").to_pylist())
    return Cube(task=task, steps=tuple(steps), item_ids=ids, metrics=tuple(measured))


def tasks_of(runs: Sequence[Sequence[Evaluation]], steps: Sequence[int]) -> tuple[str, ...]:
    """Tasks, and validation sets as `val.NAME`, that every run measured at each of the steps."""
    each = [
        [*one.tasks(), *(f"val.{name}" for name, entry in one.summary.get("validation", {}).items() if "loss" in entry)]
        for run in runs
        for one in run
        if one.summary["step"] in steps
    ]
    return tuple(name for name in each[0] if all(name in names for names in each))


def _table(task: str, one: Evaluation) -> pa.Table:
    return read_table(one.folder / f"{task}.parquet")


def _home(one: Evaluation) -> Path:
    """The run folder."""
    return one.folder.parents[1]


def _numbers(task: str, one: Evaluation, table: pa.Table, found: dict[str, Metric]) -> None:
    for name, metric in found.items():
        if not np.isfinite(metric.values).all():
            item = table.column("item_id")[int(np.argmin(np.isfinite(metric.values)))].as_py()
            raise EvalError(f"{task}: {name} of item {item} in {one.folder} is no number; evaluate that step again")
