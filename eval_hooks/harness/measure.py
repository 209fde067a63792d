"""lm-eval's requests answered by the live model, judged by its tasks, and made the per-item table."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, SupportsFloat

import numpy as np
import pyarrow as pa

from eval_hooks.copies import clusters, copies
from eval_hooks.estimate import Estimate, missing
from eval_hooks.forward import Progress
from eval_hooks.harness.ask import WRITTEN, Asked, gold
from eval_hooks.harness.judging import Result, results
from eval_hooks.harness.requests import Written, answers, log_probabilities
from eval_hooks.harness.scores import ItemScores, directions, item_scores
from eval_hooks.harness.surroundings import seeds
from eval_hooks.intervals import bootstrap_mean
from eval_hooks.items import LETTERS
from eval_hooks.results.schemas import CHOICE, COPY, GENERATE, SCORE, SHARE
from eval_hooks.table import choice_table, scored_table, with_facts, written_table

if TYPE_CHECKING:
    from eval_hooks.ready import Reader


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A document as lm-eval judged it, under one of its task's filters."""

    task: Any
    doc_id: int
    document: Any
    filter: str
    requests: Sequence[Any]
    metrics: Mapping[str, Any]
    filtered: str


def measure(
    name: str, asked: Asked, model: Any, reader: "Reader", batch_tokens: int | None, progress: Progress
) -> "pa.Table":
    """The per-item table, with lm-eval's own metrics in its metadata; the same on every rank."""
    parts = len(asked.texts.trees) + len(asked.prompts)
    heard = stretched(progress, parts, asked.documents)
    found: list[Any] = log_probabilities(model, asked.texts, batch_tokens, heard)
    written = answers(model, reader.tokenizer, asked.prompts, heard)
    found += [one.text for one in written]
    for request, value in zip(asked.requests, found, strict=True):
        rolling = request.request_type == "loglikelihood_rolling"
        request.resps = [value[0] if rolling else value] * (request.repeats or 1)
        request.filtered_resps = {}
    with seeds():
        judged = [one for number in range(len(asked.harness.tasks)) for one in _judged(asked, number)]
    chosen = asked.harness.filter or judged[0].filter
    deciding = [one for one in judged if one.filter == chosen]
    scores = item_scores(asked.harness.tasks, asked.harness.metric, [_value(one, asked) for one in deciding])
    again = copies([_item_id(one) for one in deciding], [_asks(one) for one in deciding])
    facts = {
        "metrics": {key: value.as_dict() for key, value in metrics(judged, again).items()},
        "metric": _key(asked.harness.metric, chosen),
        "cut": asked.cut,
        "directions": directions(asked.harness.tasks, {metric for one in judged for metric in one.metrics}),
    }
    if asked.kind != CHOICE.kind:  # of which one option is right, whatever the metric is called
        facts |= {"unit": scores.unit, "better": scores.better}
    table = TABLES[asked.kind](name, asked, deciding, scores, written)
    column = pa.array([again.get(item) for item in table.column("item_id").to_pylist()], COPY[1])
    place = table.column_names.index(COPY[0])
    return with_facts(table.set_column(place, pa.field(*COPY), column), facts)


def _asks(one: Judged) -> str:
    """All that a document asks, its solved examples left out: they are drawn anew for each."""
    parts = [one.task.doc_to_text(one.document), one.task.doc_to_target(one.document)]
    options = one.task.doc_to_choice(one.document) if getattr(one.task.config, "doc_to_choice", None) else None
    return repr((parts, options))


def stretched(progress: Progress, parts: int, whole: int) -> Progress:
    """A progress of `whole` that is told of `parts`."""
    done = 0

    def heard(more: int) -> None:
        nonlocal done
        progress(whole * (done + more) // parts - whole * done // parts)
        done += more

    return heard


def _judged(asked: Asked, number: int) -> Iterator[Judged]:
    """Numbers are judged here, what the model wrote in the worker."""
    task = asked.harness.tasks[number]
    documents: dict[int, list[Any]] = {}
    for request in sorted(task.instances, key=lambda request: request.idx):
        documents.setdefault(request.doc_id, []).append(request)
    documents = dict(sorted(documents.items()))
    if task.OUTPUT_TYPE == WRITTEN:
        found = results(asked.judge, number, task, documents)
    else:
        task.apply_filters()
        found = [_results(task, requests) for requests in documents.values()]
    for name in found[0]:
        for (doc_id, requests), result in zip(documents.items(), found, strict=True):
            yield Judged(
                task=task,
                doc_id=doc_id,
                document=requests[0].doc,
                filter=name,
                requests=requests,
                metrics=result[name].metrics,
                filtered=result[name].filtered,
            )


def _results(task: Any, requests: Sequence[Any]) -> dict[str, Result]:
    answers = {name: [request.filtered_resps[name] for request in requests] for name in requests[0].filtered_resps}
    return {
        name: Result(metrics=task.process_results(requests[0].doc, values), filtered=str(values[0]))
        for name, values in answers.items()
    }


def metrics(judged: Sequence[Judged], again: Mapping[str, str]) -> dict[str, Estimate]:
    """lm-eval's metrics by its names (`acc`, `exact_match,strict-match`).

    A mean has its interval, and over several tasks it is that of all their items, as lm-eval weighs them; what a task
    aggregates in a way of its own has none, and no value over several tasks. `again` are the copies among the items.
    """
    values: dict[str, dict[Any, list[Any]]] = {}
    for one in judged:
        for metric, value in one.metrics.items():
            of_task = values.setdefault(_key(metric, one.filter), {})
            of_task.setdefault(one.task, []).append((metric, value, _item_id(one)))
    return {key: _aggregate(of_task, again) for key, of_task in values.items()}


def _aggregate(of_task: Mapping[Any, Sequence[tuple[str, Any, str]]], again: Mapping[str, str]) -> Estimate:
    from lm_eval.api.metrics import mean

    every = [value for found in of_task.values() for _, value, _ in found]
    ids = [item for found in of_task.values() for _, _, item in found]
    own = {task: task.aggregation().get(found[0][0], mean) for task, found in of_task.items()}
    if any(value is None or value != value for value in every):
        return missing("an item's value is no number", len(every))
    if all(how is mean for how in own.values()):
        if not all(isinstance(value, SupportsFloat) for value in every):
            return missing("an item's value is no number", len(every))
        return bootstrap_mean(np.array(every, dtype=float), clusters=clusters(ids, again))
    if len(of_task) > 1:
        return missing("each of the tasks aggregates it in a way of its own; name them one by one", len(every))
    how = next(iter(own.values()))
    try:
        value = float(how(every))
    except OverflowError:  # a perplexity is an exponential
        value = float("inf")
    except Exception as error:  # code of the task's author: its items are measured all the same
        return missing(f"the task's own aggregation failed: {type(error).__name__}: {error}", len(every))
    if not np.isfinite(value):
        return missing("too large to write down: no number a computer has", len(every))
    return Estimate(value=value, n=len(every), reason="aggregated by lm-eval's task, without an interval")


def _key(metric: str, chosen: str) -> str:
    return metric if chosen == "none" else f"{metric},{chosen}"


def _value(one: Judged, asked: Asked) -> Any:
    return one.metrics.get(asked.harness.metric)


def _common(name: str, one: Judged) -> dict[str, Any]:
    task = one.task.task_name
    return {"task": name, "item_id": _item_id(one), "subject": task}


def _item_id(one: Judged) -> str:
    return f"{one.task.task_name}/{one.doc_id}"


def _choices(
    name: str, asked: Asked, judged: Sequence[Judged], scores: ItemScores, written: Sequence[Written]
) -> "pa.Table":
    number = {id(request): i for i, request in enumerate(asked.scored)}
    rows = []
    for one in judged:
        choices = one.task.doc_to_choice(one.document)
        requests = one.requests[: len(choices)]  # those after them are asked without the question, for another metric
        logp = [request.resps[0][0] for request in requests]
        lettered = all(choice in LETTERS for choice in choices)
        rows.append(
            {
                **_common(name, one),
                "variant": asked.harness.metric,
                "shots": one.task.get_config("num_fewshot"),
                "gold": gold(one.task, one.document),
                "logp": logp,
                "chars": [len(choice) for choice in choices],
                "letter_mass": float(np.exp(logp).sum()) if lettered else None,
                "prompt_tokens": asked.texts.context_tokens(number[id(requests[0])]),
            }
        )
    return choice_table(rows)


def _answers(
    name: str, asked: Asked, judged: Sequence[Judged], scores: ItemScores, written: Sequence[Written]
) -> "pa.Table":
    by_request = {id(request): one for request, one in zip(asked.written, written, strict=True)}
    rows = []
    for one, parts in zip(judged, _parts(scores), strict=True):
        request = one.requests[0]
        answer = by_request[id(request)]
        rows.append(
            {
                **_common(name, one),
                "prompt": request.args[0],
                "output": answer.text,
                "gold": str(one.task.doc_to_target(one.document)),
                **parts,
                "reason": f"judged: {one.filtered}",
                "n_tokens": answer.n_tokens,
                "hit_limit": answer.hit_limit,
            }
        )
    return written_table(rows)


def _scores(
    name: str, asked: Asked, judged: Sequence[Judged], scores: ItemScores, written: Sequence[Written]
) -> "pa.Table":
    rows = []
    for one, parts in zip(judged, _parts(scores), strict=True):
        rows.append(
            {
                **_common(name, one),
                "prompt": one.requests[0].args[0],
                "gold": str(one.task.doc_to_target(one.document)),
                **parts,
            }
        )
    return scored_table(rows)


def _parts(scores: ItemScores) -> Iterator[dict[str, Any]]:
    """Columns of each item: its score, what that counts by, and whether it is right, where it is of that sort."""
    counted = scores.unit == SHARE and scores.better == "up"
    for value, weight in zip(scores.values, scores.weights, strict=True):
        yield {"score": value, "weight": weight, "correct": value == 1 if counted and value is not None else None}


Table = Callable[[str, Asked, Sequence[Judged], ItemScores, Sequence[Written]], "pa.Table"]
TABLES: dict[str, Table] = {CHOICE.kind: _choices, GENERATE.kind: _answers, SCORE.kind: _scores}
"""Kind -> its table from what was judged."""
