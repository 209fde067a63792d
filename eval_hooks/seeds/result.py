"""Two recipes over their seeds: what the screen, the picture and compare-seeds.json are made from."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from eval_hooks.errors import EvalError
from eval_hooks.estimate import Estimate
from eval_hooks.evaluations import Evaluation
from eval_hooks.seeds.groups import Groups, scores
from eval_hooks.seeds.interval import Ends, difference

LEVEL = 0.95
Verdict = Literal["A is better", "B is better", "no difference", "undecided"]


@dataclass(frozen=True, kw_only=True)
class Adjusted:
    """The interval that the verdict is read from: over all tasks together it is wrong in 5 % of cases at most."""

    low: float
    high: float
    level: float
    """1 - .05 / tasks (Bonferroni)."""
    tasks: int


@dataclass(frozen=True, kw_only=True)
class TaskResult:
    """One task."""

    task: str
    goal: str
    """`up`, or `down` where a lower score is the better one."""
    a: tuple[float, ...]
    """Mean score of each of A's runs, as a share."""
    b: tuple[float, ...]
    difference: Estimate
    """A less B: mean of the runs' means, with its 95 % interval over seeds and items."""
    seeds_half_width: float
    """Of the adjusted interval, what the seeds bring by themselves."""
    items: tuple[float, float]
    """(low, high) of the adjusted interval if the seeds brought nothing."""
    adjusted: Adjusted
    margin: float
    verdict: Verdict

    @property
    def means(self) -> tuple[float, float]:
        """A's and B's."""
        return sum(self.a) / len(self.a), sum(self.b) / len(self.b)

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class SeedComparison:
    """Every task compared."""

    groups: Groups
    tasks: tuple[TaskResult, ...]

    def as_dict(self) -> dict[str, Any]:
        """The content of compare-seeds.json."""
        return {
            "a": [_named(one) for one in self.groups.a],
            "b": [_named(one) for one in self.groups.b],
            "one_recipe": self.groups.one_recipe,
            "recipes_not_found": list(self.groups.unchecked),
            "tasks": [one.as_dict() for one in self.tasks],
        }


def _named(one: Evaluation) -> dict[str, Any]:
    return {"folder": str(one.folder), "step": one.summary["step"]}


def compared(groups: Groups, tasks: Sequence[str] = ()) -> SeedComparison:
    """Every task that all runs share, or those asked for. Raises EvalError where one is not measured in all of them."""
    if unknown := [name for name in tasks if name not in groups.tasks]:
        there = ", ".join(groups.tasks) or "none"
        raise EvalError(f"{', '.join(unknown)}: not measured in every run; there is: {there}")
    chosen = tuple(dict.fromkeys(tasks)) or groups.counted
    if not chosen:
        lists = "; ".join(f"{one.folder} has {', '.join(one.tasks()) or 'none'}" for one in groups.all)
        raise EvalError(f"no task was measured in every run: {lists}; evaluate all on one")
    return SeedComparison(groups=groups, tasks=tuple(_task(name, groups, len(chosen)) for name in chosen))


def _task(task: str, groups: Groups, tasks: int) -> TaskResult:
    a, b = scores(task, groups)
    estimate, level = difference(a, b, LEVEL)[0], 1 - (1 - LEVEL) / tasks
    wider, made = difference(a, b, level)
    adjusted = Adjusted(low=_end(wider.low), high=_end(wider.high), level=level, tasks=tasks)
    goal, margin = groups.goal(task), groups.margin(task)
    return TaskResult(
        task=task,
        goal=goal,
        a=tuple(map(float, a.mean(axis=1))),
        b=tuple(map(float, b.mean(axis=1))),
        difference=estimate,
        **_parts(made),
        adjusted=adjusted,
        margin=margin,
        verdict=verdict(adjusted.low, adjusted.high, margin, goal),
    )


def _parts(made: Ends) -> dict[str, Any]:
    items = float(made.items[0]), float(made.items[1])
    return {"seeds_half_width": float(made.seeds), "items": items}


def _end(value: float | None) -> float:
    assert value is not None, "a difference of two tables always has its interval"
    return value


def verdict(low: float, high: float, margin: float, goal: str = "up") -> Verdict:
    """`A is better` if the interval of A less B lies above 0, `B is better` below it; with goal `down` the other way.

    Else `no difference`, of more than the margin, if it lies within the margin both ways; else `undecided`.
    """
    if low > 0 or high < 0:
        return "A is better" if (low > 0) == (goal == "up") else "B is better"
    return "no difference" if low > -margin and high < margin else "undecided"
