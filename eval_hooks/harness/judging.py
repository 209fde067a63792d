"""lm-eval's filters and metrics on what a model wrote, in the worker (`eval_hooks.bounded`): a document at a time.

A task is code of lm-eval's or the user's, and what it makes of an answer may never end (`9^9^9` in its mathematics, a
regular expression). The worker loads the task once more and gets the answers alone.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eval_hooks.bounded import Call, Outcome, run_bounded
from eval_hooks.config import TaskSpec
from eval_hooks.errors import EvalError
from eval_hooks.harness.load import load
from eval_hooks.harness.surroundings import seeds
from eval_hooks.json_text import json_text

LOADING = ("task", "include_path", "shots", "limit", "metric")
"""What of an entry decides which tasks are loaded."""
REASON = 500
"""Characters of a filtered answer that are kept."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a task says of a document, under one of its filters."""

    metrics: Mapping[str, Any]
    filtered: str
    """The answer as the filter left it."""


def judge_call(spec: TaskSpec) -> Call:
    """(number of the task, document's id, texts of its requests) -> {filter: [metrics, filtered answer]}."""
    return Call(module=__name__, factory="judging", setup=(json_text({key: getattr(spec, key) for key in LOADING}),))


def results(call: Call, number: int, task: Any, documents: Mapping[int, Sequence[Any]]) -> list[dict[str, Result]]:
    """By filter, of every document of the `number`-th task; `documents` are requests with their answers.

    An answer that cannot be judged in bounds earns nothing. Raises EvalError where a metric knows no such thing, where
    an empty answer passes them too, and where the task breaks.
    """
    items = [(number, doc_id, [request.resps for request in asked]) for doc_id, asked in documents.items()]
    found = run_bounded(call, items)
    suspects = [
        (number, doc_id, [[""] * len(one) for one in texts])
        for (_, doc_id, texts), outcome in zip(items, found, strict=True)
        if outcome.killed
    ]
    for (_, doc_id, _), outcome in zip(suspects, run_bounded(call, suspects) if suspects else [], strict=True):
        if outcome.killed:
            raise EvalError(f"{task.task_name}/{doc_id}: judging even an empty answer {outcome.killed}")
    sample: dict[str, Any] = next((outcome.value for outcome in found if outcome.value), {})
    return [_result(task, doc_id, outcome, sample) for doc_id, outcome in zip(documents, found, strict=True)]


def _result(task: Any, doc_id: int, outcome: Outcome, sample: dict[str, Any]) -> dict[str, Result]:
    if outcome.error:
        raise EvalError(f"{task.task_name}/{doc_id}: its task broke on the answer: {outcome.error}")
    if not outcome.killed:
        return {name: Result(metrics=metrics, filtered=text) for name, (metrics, text) in outcome.value.items()}
    better = task.higher_is_better()
    known = {name: metrics for name, (metrics, _) in sample.items()}
    if not known or not all(
        isinstance(value, int | float) and better.get(metric, True)
        for metrics in known.values()
        for metric, value in metrics.items()
    ):
        raise EvalError(f"{task.task_name}/{doc_id}: judging the answer {outcome.killed}, and no score means that")
    text = f"judging it {outcome.killed}"
    return {name: Result(metrics=dict.fromkeys(metrics, 0.0), filtered=text) for name, metrics in known.items()}


def judging(entry: str) -> Callable[[int, int, list[list[str]]], dict[str, Any]]:
    """In the worker."""
    from lm_eval.api.instance import Instance

    harness = load(TaskSpec(**json.loads(entry)))
    documents = [task.eval_docs for task in harness.tasks]

    def judge(number: int, doc_id: int, texts: list[list[str]]) -> dict[str, Any]:
        task, document = harness.tasks[number], documents[number][doc_id]
        requests = [
            Instance("generate_until", document, (), idx, (task.task_name, doc_id, len(one)), resps=one)
            for idx, one in enumerate(texts)
        ]
        task._instances = requests
        with seeds():
            task.apply_filters()
            found = {}
            for name in requests[0].filtered_resps:
                filtered = [request.filtered_resps[name] for request in requests]
                metrics = task.process_results(document, filtered)
                found[name] = [_plain(metrics), str(filtered[0])[:REASON]]
        return found

    return judge


def _plain(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """As JSON has it: numbers of numpy as numbers, sets as lists."""
    return json.loads(json_text(metrics, default=lambda value: value.item() if hasattr(value, "item") else list(value)))
