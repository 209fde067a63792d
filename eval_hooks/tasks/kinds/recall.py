"""What a model recalls of given answers, and what it writes where it is asked freely."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from eval_hooks.catalog import row_of
from eval_hooks.config import Role, TaskSpec
from eval_hooks.copies import clusters_of, copies
from eval_hooks.estimate import Estimate, missing
from eval_hooks.forward import Progress, no_progress
from eval_hooks.intervals import bootstrap_mean
from eval_hooks.items import GenerateItem, RecallItem
from eval_hooks.judging import rouge_l_recalls
from eval_hooks.recall import columns_of, encode_recall, recall
from eval_hooks.results.flips import written_flip
from eval_hooks.results.schemas import RECALL
from eval_hooks.table import RECALL_METRICS, column, recall_table
from eval_hooks.tasks.kinds.generate import rendered, written
from eval_hooks.tasks.kinds.kind import Beside, ItemNumbers, Kind, Row, metric_lines, score_numbers
from eval_hooks.tasks.prepared import Reader, Ready, digest, text_of

if TYPE_CHECKING:
    import pyarrow as pa

NAMES = {
    "em_value": "value's tokens recalled",
    "em_answer": "answer's tokens recalled",
    "probability_value": "probability of the value",
    "probability_answer": "probability of the answer",
    "truth_ratio": "truth ratio",
    "rouge_l": "ROUGE-L recall",
}
"""Metrics in words."""


def load(rows: Sequence[tuple[Row, str]]) -> tuple[RecallItem, ...]:
    """Rows {prompt, completion}, or pairs; `value`, `answer_again`, `wrong_answers` where they have them.

    Without a `value` the whole answer is it.
    """
    return tuple(_item(row, item_id) for row, item_id in rows)


def _item(row: Row, item_id: str) -> RecallItem:
    answer = text_of(row["chosen"] if "chosen" in row else row["completion"])
    return RecallItem(
        item_id=item_id,
        prompt=row["prompt"],
        answer=answer,
        value=row.get("value") or answer,
        again=row.get("answer_again") or "",
        wrong=(text_of(row["rejected"]),) if "rejected" in row else tuple(row.get("wrong_answers") or ()),
    )


def prepare(spec: TaskSpec, role: Role, reader: Reader, items: Sequence[RecallItem], judge: Any = None) -> Ready:
    """Prompts with their answers as token ids. Raises EvalError for what rendering refuses."""
    texts, golds = rendered(items, reader), [item.answer for item in items]
    return Ready(
        spec=spec,
        role=role,
        prompts=tuple(GenerateItem(item_id=one.item_id, prompt=one.prompt, gold=one.answer) for one in items),
        recalls=tuple(encode_recall(item, text, reader.tokenizer) for item, text in zip(items, texts, strict=True)),
        copies=copies([item.item_id for item in items], list(zip(texts, golds, strict=True))),
        first_prompt=texts[0],
        texts=tuple(texts),
        prompt_hash=digest([texts, golds, spec.max_new_tokens]),
    )


def measure(task: Ready, model: Any, reader: Reader, progress: Progress) -> "pa.Table":
    """The table of all items."""
    row = row_of(task.spec.task)
    known = recall(model, task.recalls, task.spec.batch_tokens, no_progress if row.writes else progress)
    found = written(task, model, reader, progress) if row.writes else [None] * len(known)
    outputs = [answer.text for answer in found if answer]
    overlaps = rouge_l_recalls(outputs, [item.item.answer for item in task.recalls]) if outputs else found
    rows = []
    for item, texts, answer, overlap in zip(task.recalls, known, found, overlaps, strict=True):
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
                "correct": row.decides(columns),
                "rouge_l": overlap,
                "copy_of": task.copies.get(item.item.item_id),
            }
        )
    return recall_table(rows)


def summarise(table: "pa.Table", beside: Beside) -> dict[str, Any]:
    """Each metric's mean, and some answers to read where there are any."""
    some = table.slice(0, beside.samples).to_pylist() if table.column("output").null_count == 0 else []
    return {"metrics": {name: _mean_of(table, name).as_dict() for name in RECALL_METRICS}, "samples": some}


def _mean_of(table: "pa.Table", name: str) -> Estimate:
    """Mean of a column with its bootstrap interval; missing where an item has it not."""
    values = np.array(table.column(name).to_pylist(), dtype=float)
    if np.isnan(values).any():
        return missing(f"the items carry nothing to compute {name} from", len(values))
    return bootstrap_mean(values, clusters=clusters_of(table))


def numbers(table: "pa.Table") -> dict[str, ItemNumbers]:
    """Right or wrong, and the metrics that every item has."""
    full = [name for name in RECALL_METRICS if table.column(name).null_count == 0]
    return score_numbers(table) | {name: ItemNumbers(values=column(table, name)) for name in full}


def flip(before: Row, after: Row, asked: Mapping[str, Any]) -> dict[str, Any]:
    """The prompt's end, and what was written before and after; where nothing was, whether it was right."""
    said = [
        one["output"] if one["output"] is not None else ("wrong", "right")[one["correct"]] for one in (before, after)
    ]
    return written_flip(before, after, *said)


KIND = Kind(
    schema=RECALL,
    load=load,
    prepare=prepare,
    measure=measure,
    summarise=summarise,
    numbers=numbers,
    flip=flip,
    keys=RECALL_METRICS,
    show=metric_lines(NAMES),
)
