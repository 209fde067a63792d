"""Which checkpoint to ship: the best by one logged key, among those where another one holds."""

import operator
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from eval_hooks.config import Keep
from eval_hooks.errors import EvalError
from eval_hooks.results.metrics import metric_of
from eval_hooks.track import flatten_summary

COMPARE: Mapping[str, Callable[[float, float], bool]] = {
    ">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt
}  # fmt: skip
CONDITION = re.compile(r"\s*(\S+)\s*(>=|<=|>|<)\s*([-+]?[0-9.]+(?:e[-+]?[0-9]+)?)\s*", re.I)


def condition(text: str) -> tuple[str, str, float]:
    """(key, comparison, number). Raises EvalError for anything else."""
    match = CONDITION.fullmatch(text)
    if match is None:
        raise EvalError(
            f"eval.keep.subject_to {text!r}: not a comparison; write KEY >= NUMBER, with one of {' '.join(COMPARE)}"
        )
    return match[1], match[2], float(match[3])


def greater(rule: Keep, tasks: Mapping[str, Any] | None = None) -> bool:
    """Whether a larger value is better; `tasks` are entries of a summary, or anything that says their goals.

    Raises EvalError of a key that nobody can say it of.
    """
    if rule.greater_is_better is not None:
        return rule.greater_is_better
    metric = metric_of(rule.by, tasks)
    if metric is None or metric.better is None:
        raise EvalError(
            f"eval.keep.by {rule.by!r}: whether more of it is better is not known; say greater_is_better: true or false"
        )
    return metric.better == "up"


def best(rule: Keep, summaries: Iterable[Mapping[str, Any]]) -> int | None:
    """The step of the best of these evaluations, the first of equals; None where none has the key and holds."""
    kept: tuple[float, int] | None = None
    for summary in summaries:
        values = numbers(summary)
        if rule.by not in values or not _holds(rule, values):
            continue
        value = float(values[rule.by]) * (1.0 if greater(rule, summary["tasks"]) else -1.0)
        if kept is None or value > kept[0]:
            kept = (value, summary["step"])
    return kept[1] if kept else None


def numbers(summary: Mapping[str, Any]) -> dict[str, float]:
    """What a rule may speak of: a summary's keys without its words."""
    return {key: float(value) for key, value in flatten_summary(summary).items() if not isinstance(value, str)}


def _holds(rule: Keep, values: Mapping[str, Any]) -> bool:
    if rule.subject_to is None:
        return True
    key, compare, number = condition(rule.subject_to)
    return key in values and COMPARE[compare](float(values[key]), number)


def of_harness(key: str, tasks: Mapping[str, str]) -> bool:
    """Whether it may be a metric of lm-eval's own, which is known once its task is asked: `eval/<task>/<metric>`."""
    match = re.fullmatch(r"eval/([^/]+)/[^/]+", key)
    return match is not None and tasks.get(match[1]) == "harness"


def known_keys(tasks: Mapping[str, str], held_out: Iterable[str]) -> list[str]:
    """The keys that evaluations log of these tasks (name -> kind) and validation sets."""
    from eval_hooks.results.metrics import CALIBRATION, HELD_OUT, RETENTION
    from eval_hooks.tasks.kinds import KINDS

    guessed = ("forgetting", "backward_transfer")  # of options alone
    names = []
    for name, kind in tasks.items():
        row = KINDS.get(kind, KINDS["choice"])  # of lm-eval's its kind is known once it is asked
        keys = ["accuracy", "seconds", "failed", *row.keys]
        keys += [f"calibration/{key}" for key in CALIBRATION] if row.schema.options else []
        keys += [f"retention/{key}" for key in RETENTION if row.schema.options or key not in guessed]
        names += [f"eval/{name}/{key}" for key in keys]
    return [*names, *(f"val/{name}/{key}" for name in held_out for key in HELD_OUT)]
