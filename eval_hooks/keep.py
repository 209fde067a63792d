"""Which checkpoint to ship: the best by one logged key, among those where another one holds."""

import operator
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from eval_hooks.config import Keep
from eval_hooks.errors import EvalError
from eval_hooks.track import flatten_summary

LOWER = (
    "loss",
    "ece",
    "rms",
    "mce",
    "brier",
    "nll",
    "aurc",
    "lost",
    "seconds",
    "hit_limit",
    "risk",
    "churn",
    "forgetting",
)
"""Words in the last part of a key whose small values are good."""
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


def greater(rule: Keep) -> bool:
    """Whether a larger value is better."""
    if rule.greater_is_better is not None:
        return rule.greater_is_better
    words = set(re.split("[/_]", rule.by.partition("/")[2].partition("/")[2] or rule.by))
    return not words & set(LOWER)


def best(rule: Keep, summaries: Iterable[Mapping[str, Any]]) -> int | None:
    """The step of the best of these evaluations, the first of equals; None where none has the key and holds."""
    kept: tuple[float, int] | None = None
    sign = 1.0 if greater(rule) else -1.0
    for summary in summaries:
        values = numbers(summary)
        if rule.by not in values or not _holds(rule, values):
            continue
        value = sign * float(values[rule.by])
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


def known_keys(tasks: Mapping[str, str], held_out: Iterable[str]) -> list[str]:
    """The keys that evaluations log of these tasks (name -> kind) and validation sets."""
    from eval_hooks.summary import summarise_task
    from eval_hooks.table import RECALL_METRICS, choice_table

    row = {"task": "", "subject": "", "variant": "", "shots": 0, "gold": 0, "chars": [1, 1], "letter_mass": 1.0,
           "prompt_tokens": 1}  # fmt: skip
    table = choice_table([{**row, "item_id": str(i), "logp": [-1.0, -2.0 * (i % 2)]} for i in range(4)])
    choice = list(numbers({"tasks": {"": summarise_task(table, role="", baseline=table)}}))
    kinds = {
        "choice": choice,
        "harness": choice,  # as far as its own kind goes, which is known once lm-eval is asked
        "generate": ["eval//accuracy", "eval//hit_limit"],
        "recall": ["eval//accuracy", *(f"eval//{name}" for name in RECALL_METRICS)],
    }
    guessed = ("forgetting", "backward_transfer")  # of options alone
    kept = [key for key in choice if key.startswith("eval//retention/") and not key.endswith(guessed)]
    names = [
        key.replace("eval//", f"eval/{name}/", 1)
        for name, kind in tasks.items()
        for key in dict.fromkeys([*kinds.get(kind, []), *kept])
    ]
    return [*names, *(f"val/{name}/{key}" for name in held_out for key in ("loss", "accuracy", "margin"))]
