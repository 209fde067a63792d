"""How much of a score is the seed: runs of one recipe with several seeds, set beside each other."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from eval_hooks.errors import EvalError
from eval_hooks.evaluations import RUNS, find_all
from eval_hooks.files import write_atomic, write_json

if TYPE_CHECKING:
    import pyarrow as pa

    from eval_hooks.variance.items import Items
    from eval_hooks.variance.metrics import Metric
    from eval_hooks.variance.spread import Spread

OUT = Path("variance")
"""Where the picture and the numbers go unless told otherwise."""
RESAMPLES = 10_000
Interval = Literal["normal", "bootstrap"]


@dataclass(frozen=True, kw_only=True)
class Variance:
    """What the screen, the picture and variance.json are made from."""

    runs: tuple[str, ...]
    steps: tuple[int, ...]
    spreads: tuple["Spread", ...]
    """Task by task, metric by metric."""
    items: dict[str, "Items"]
    """Of each task that is right or wrong."""
    item_table: "pa.Table"
    """The same items one by one."""
    unchecked: tuple[str, ...] = ()
    """Runs without a recipe to compare."""

    def of(self, task: str) -> tuple["Spread", ...]:
        """A task's metrics."""
        return tuple(one for one in self.spreads if one.task == task)

    @property
    def tasks(self) -> tuple[str, ...]:
        """In the order measured."""
        return tuple(dict.fromkeys(one.task for one in self.spreads))

    def as_dict(self) -> dict[str, Any]:
        """The content of variance.json."""
        return {
            "runs": list(self.runs),
            "steps": list(self.steps),
            "metrics": [one.as_dict() for one in self.spreads],
            "items": {task: found.as_dict() for task, found in self.items.items()},
            "recipes_not_found": list(self.unchecked),
        }


def variance(
    names: Sequence[str],
    *,
    tasks: Sequence[str] = (),
    metrics: Sequence[str] = (),
    ci: Interval = "normal",
    n_boot: int = RESAMPLES,
    out: Path = OUT,
    console: Any = None,
    root: Path = RUNS,
) -> Variance:
    """Print and draw the spread over seeds of every task and metric; return it.

    variance.png, variance.json and items.parquet are left in `out`. Raises EvalError for fewer than two runs, recipes
    that differ in more than seeds, no shared step, task or metric, and all that `cube` refuses.
    """
    from rich.markup import escape

    from eval_hooks.table import write_table
    from eval_hooks.variance.png import variance_png
    from eval_hooks.variance.screen import show
    from eval_hooks.visible import terminal

    result = measured(names, tasks=tasks, metrics=metrics, ci=ci, n_boot=n_boot, root=root)
    console = console or terminal()
    show(result, console)
    write_atomic(out / "variance.png", variance_png(result))
    write_json(out / "variance.json", result.as_dict())
    write_table(result.item_table, out / "items.parquet")
    for word, file in (("picture", "variance.png"), ("numbers", "variance.json"), ("items", "items.parquet")):
        console.print(f"[dim]{word:8}[/dim]{escape(str(out / file))}", soft_wrap=True, highlight=False)
    return result


def measured(
    names: Sequence[str], *, tasks: Sequence[str], metrics: Sequence[str], ci: Interval, n_boot: int, root: Path = RUNS
) -> Variance:
    """The numbers, without showing them."""
    import numpy as np
    import pyarrow as pa

    from eval_hooks.variance.items import analyse, item_table
    from eval_hooks.variance.recipes import check_repetitions
    from eval_hooks.variance.runs import cube, shared_steps, tasks_of
    from eval_hooks.variance.spread import spread

    if len(names) < 2:
        raise EvalError(f"variance {' '.join(names)}: name two or more runs of one recipe with other seeds")
    runs = [find_all(name, root) for name in names]
    unchecked = check_repetitions([run[0].folder.parents[1] for run in runs])
    steps = shared_steps(runs)
    there = tasks_of(runs, steps)
    if not there or any(task not in there for task in tasks):
        asked = f"not all of {', '.join(tasks)} were" if tasks else "no task was"
        at = ", ".join(map(str, steps))
        raise EvalError(f"{asked} measured in every run at steps {at}; there is: {_said(there)}")
    cubes = [cube(task, runs, steps) for task in tasks or there]
    known = {name for one in cubes for name in one.names}
    if unknown := [name for name in metrics if name not in known]:
        raise EvalError(f"metric {', '.join(unknown)}: not in these tables; there is: {_said(sorted(known))}")
    spreads = []
    for one in cubes:
        for name in [name for name in one.names if not metrics or name in metrics]:
            last = [run[-1][name] for run in one.metrics]
            halves = [half_width(metric, ci, n_boot) for metric in last]
            spreads.append(
                spread(task=one.task, metric=name, better=last[0].better, steps=one.steps, scores=one.scores(name),
                       half_widths=halves, n=len(last[0].values), chance=last[0].chance,
                       grain=min(metric.grain for metric in last), unit=last[0].unit)
            )  # fmt: skip
    answered = {one.task: (one.item_ids, one.values("accuracy")) for one in cubes if "accuracy" in one.names}
    each = [item_table(task, ids, correct) for task, (ids, correct) in answered.items()]
    return Variance(
        runs=tuple(names),
        steps=steps,
        spreads=tuple(spreads),
        items={task: analyse(correct) for task, (_, correct) in answered.items()},
        item_table=pa.concat_tables(each or [item_table("", (), np.empty((1, 0)))]),
        unchecked=tuple(unchecked),
    )


def half_width(metric: "Metric", ci: Interval, n_boot: int) -> float:
    """Half of a score's own 95 % interval over its items: 1.96 times its standard error, or by resampled items.

    The standard error of a weighted mean is sqrt(sum w^2 (x - mean)^2) / sum w; of a share, sqrt(S (1 - S) / n). Of
    items that are copies of each other w (x - mean) is summed first.
    """
    import numpy as np

    from eval_hooks.intervals import Z, counts

    x, w = metric.values, np.ones(len(metric.values)) if metric.weights is None else metric.weights
    if ci == "normal":
        of = np.arange(len(x)) if metric.clusters is None else metric.clusters
        return float(Z * np.sqrt((np.bincount(of, weights=w * (x - metric.score)) ** 2).sum()) / w.sum())
    means = [times @ (w * x) / (times @ w) for times in counts(len(x), n_boot, clusters=metric.clusters)]
    low, high = np.quantile(np.concatenate(means), [0.025, 0.975])
    return float(high - low) / 2


def _said(names: Sequence[str]) -> str:
    return ", ".join(names) or "none"
