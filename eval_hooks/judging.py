"""Answers judged in bounds: what reads a model's text runs in the worker (`eval_hooks.bounded`)."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from eval_hooks.bounded import Call, run_bounded
from eval_hooks.bounded.plugins import row_of
from eval_hooks.catalog import TASKS, Judge
from eval_hooks.errors import EvalError
from eval_hooks.items import GenerateItem
from eval_hooks.recall import rouge_l_recall

ROUGE_L = Call(module=__name__, factory="rouge_l")
REASON = 500
"""Characters of a reason that are kept."""


def task_call(name: str) -> Call:
    """(output, item) -> [right, reason] of a task's own judge."""
    return Call(module=__name__, factory="task_judge", setup=(name, TASKS[name].home))


def judged(judge: Judge | Call, outputs: Sequence[str], items: Sequence[GenerateItem]) -> list[tuple[bool, str]]:
    """(right, reason) of each output; one that cannot be judged in bounds is not right.

    Raises EvalError where the judge breaks, and where it passes its bounds for an empty output too: that is not the
    model's fault. A function of a script's own is called here, without bounds.
    """
    if not isinstance(judge, Call):
        return [judge(output, item) for output, item in zip(outputs, items, strict=True)]
    found = run_bounded(judge, [(output, asdict(item)) for output, item in zip(outputs, items, strict=True)])
    suspects = [item for item, outcome in zip(items, found, strict=True) if outcome.killed]
    control = run_bounded(judge, [("", asdict(item)) for item in suspects]) if suspects else []
    for item, outcome in [*zip(items, found, strict=True), *zip(suspects, control, strict=True)]:
        if outcome.error:
            raise EvalError(f"{item.item_id}: its judge broke: {outcome.error}")
    for item, outcome in zip(suspects, control, strict=True):
        if outcome.killed:
            raise EvalError(
                f"{item.item_id}: judging even an empty answer {outcome.killed}; mend its gold answer or its judge"
            )
    return [(False, f"judging it {one.killed}") if one.killed else (one.value[0], one.value[1]) for one in found]


def rouge_l_recalls(outputs: Sequence[str], answers: Sequence[str]) -> list[float | None]:
    """ROUGE-L recall of each output against its answer; None where it took too much time: it is quadratic."""
    return [outcome.value for outcome in run_bounded(ROUGE_L, list(zip(outputs, answers, strict=True)))]


def task_judge(name: str, home: str) -> Callable[[str, dict[str, Any]], list[Any]]:
    """In the worker."""
    judge = row_of(TASKS, "TASKS", name, home).judge

    def call(output: str, item: dict[str, Any]) -> list[Any]:
        right, reason = judge(output, GenerateItem(**item))
        return [bool(right), str(reason)[:REASON]]

    return call


def rouge_l() -> Callable[[str, str], float]:
    """In the worker; what it imports is not an item's time."""
    import rouge_score.rouge_scorer  # noqa: F401

    return rouge_l_recall
