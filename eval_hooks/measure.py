"""A task scored on a live model: its per-item table."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from eval_hooks.catalog import row_of
from eval_hooks.forward import Prefixes, Progress, no_progress
from eval_hooks.generate import Answer, answers
from eval_hooks.harness.measure import measure as measure_harness
from eval_hooks.judging import judged, rouge_l_recalls
from eval_hooks.ready import Reader, Ready
from eval_hooks.recall import columns_of, recall
from eval_hooks.scoring.options import score
from eval_hooks.table import choice_table, generate_table, recall_table
from eval_hooks.variants import FORMS

if TYPE_CHECKING:
    import pyarrow as pa


def measure(task: Ready, model: Any, reader: Reader, progress: Progress = no_progress) -> "pa.Table":
    """The per-item table of one task on the model as it is now."""
    kinds = {
        "choice": _measure_choice,
        "generate": _measure_generate,
        "recall": _measure_recall,
        "harness": _measure_harness,
    }
    return kinds[row_of(task.spec.task).kind](task, model, reader, progress)


def _measure_choice(task: Ready, model: Any, reader: Reader, progress: Progress) -> "pa.Table":
    return choice_table(choice_rows(task, model, progress))


def choice_rows(
    task: Ready,
    model: Any,
    progress: Progress,
    *,
    only: Sequence[int] | None = None,
    prefixes: Prefixes | None = None,
    intact: bool = False,
) -> list[dict[str, Any]]:
    """Rows of `choice_table`, of all items or `only` of some; `prefixes` were run before on the same weights.

    `intact`: in the batches that all items make, for numbers that are equal to the last bit.
    """
    cloze = FORMS[task.spec.variant].cloze
    budget = task.spec.batch_tokens
    scores = score(model, task.choices, budget, progress, only=only, prefixes=prefixes, intact=intact)
    asked = task.choices if only is None else [task.choices[i] for i in only]
    return [
        {
            "task": task.name,
            "item_id": encoded.item.item_id,
            "subject": encoded.item.subject,
            "variant": task.spec.variant,
            "shots": task.spec.n_shots,
            "gold": encoded.item.gold,
            "logp": list(result.logp),
            "chars": [len(choice) for choice in encoded.item.choices],
            "letter_mass": None if cloze else result.mass,
            "prompt_tokens": encoded.context_tokens,
            "copy_of": task.copies.get(encoded.item.item_id),
        }
        for encoded, result in zip(asked, scores, strict=True)
    ]


def _written(task: Ready, model: Any, reader: Reader, progress: Progress) -> list[Answer]:
    kwargs = dict(reader.template_kwargs)
    return answers(model, reader.tokenizer, task.prompts, task.spec.max_new_tokens, kwargs, progress=progress)


def _measure_generate(task: Ready, model: Any, reader: Reader, progress: Progress) -> "pa.Table":
    assert task.judge is not None
    written = _written(task, model, reader, progress)
    verdicts = judged(task.judge, [answer.text for answer in written], task.prompts)
    rows = []
    for item, answer, (right, reason) in zip(task.prompts, written, verdicts, strict=True):
        rows.append(
            {
                "task": task.name,
                "item_id": item.item_id,
                "prompt": answer.prompt,
                "output": answer.text,
                "gold": item.gold,
                "correct": right,
                "reason": reason,
                "n_tokens": answer.n_tokens,
                "hit_limit": answer.hit_limit,
                "copy_of": task.copies.get(item.item_id),
            }
        )
    return generate_table(rows)


def _measure_recall(task: Ready, model: Any, reader: Reader, progress: Progress) -> "pa.Table":
    kind = row_of(task.spec.task)
    known = recall(model, task.recalls, task.spec.batch_tokens, no_progress if kind.writes else progress)
    written = _written(task, model, reader, progress) if kind.writes else [None] * len(known)
    outputs = [answer.text for answer in written if answer]
    overlaps = rouge_l_recalls(outputs, [item.item.answer for item in task.recalls]) if outputs else written
    rows = []
    for item, texts, answer, overlap in zip(task.recalls, known, written, overlaps, strict=True):
        columns = columns_of(item, texts)
        rows.append(
            {
                "task": task.name,
                "item_id": item.item.item_id,
                "prompt": item.prompt,
                "output": answer.text if answer else None,
                "gold": item.item.answer,
                "value": item.item.value,
                **columns,
                "correct": kind.decides(columns),
                "rouge_l": overlap,
                "copy_of": task.copies.get(item.item.item_id),
            }
        )
    return recall_table(rows)


def _measure_harness(task: Ready, model: Any, reader: Reader, progress: Progress) -> "pa.Table":
    assert task.harness is not None
    return measure_harness(task.name, task.harness, model, reader, task.spec.batch_tokens, progress)
