"""Free answers, judged right or wrong."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from eval_hooks.catalog import row_of
from eval_hooks.config import Role, TaskSpec
from eval_hooks.copies import copies
from eval_hooks.forward import Progress
from eval_hooks.generate import Answer, answers, render
from eval_hooks.items import GenerateItem
from eval_hooks.judging import judged, task_call
from eval_hooks.results.flips import written_flip
from eval_hooks.results.schemas import GENERATE
from eval_hooks.table import column, generate_table
from eval_hooks.tasks.kinds.kind import Beside, Kind, Row, metric_lines
from eval_hooks.tasks.prepared import Reader, Ready, digest, text_of

if TYPE_CHECKING:
    import pyarrow as pa


def load(rows: Sequence[tuple[Row, str]]) -> tuple[GenerateItem, ...]:
    """Rows {prompt, completion} or {prompt, answer}."""
    return tuple(
        GenerateItem(
            item_id=item_id,
            prompt=row["prompt"],
            gold=_gold(row),
            row=row,
        )
        for row, item_id in rows
    )


def _gold(row: Row) -> str:
    """A gold answer as it is shown; of several, any of which is right, all."""
    answer = row["answer"] if "answer" in row else text_of(row["completion"])
    return " or ".join(map(str, answer)) if isinstance(answer, list | tuple) else str(answer)


def prepare(spec: TaskSpec, role: Role, reader: Reader, items: Sequence[GenerateItem], judge: Any = None) -> Ready:
    """Prompts as texts. Raises EvalError for what rendering refuses."""
    texts = rendered(items, reader)
    golds = [item.gold for item in items]
    return Ready(
        spec=spec,
        role=role,
        prompts=tuple(items),
        copies=copies([item.item_id for item in items], list(zip(texts, golds, strict=True))),
        judge=judge or (task_call(spec.task) if row_of(spec.task).judge else None),
        first_prompt=texts[0],
        texts=tuple(texts),
        prompt_hash=digest([texts, golds, spec.max_new_tokens]),
    )


def rendered(items: Sequence[Any], reader: Reader) -> list[str]:
    """Prompts as the model's template has them."""
    return [render(item, reader.tokenizer, dict(reader.template_kwargs)) for item in items]


def written(task: Ready, model: Any, reader: Reader, progress: Progress) -> list[Answer]:
    """What the model answers to each prompt."""
    kwargs = dict(reader.template_kwargs)
    return answers(model, reader.tokenizer, task.prompts, task.spec.max_new_tokens, kwargs, progress=progress)


def measure(task: Ready, model: Any, reader: Reader, progress: Progress) -> "pa.Table":
    """The table of all items."""
    assert task.judge is not None
    found = written(task, model, reader, progress)
    verdicts = judged(task.judge, [answer.text for answer in found], task.prompts)
    rows = [
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
        for item, answer, (right, reason) in zip(task.prompts, found, verdicts, strict=True)
    ]
    return generate_table(rows)


def summarise(table: "pa.Table", beside: Beside) -> dict[str, Any]:
    """How many answers hit the limit, and some to read."""
    return {
        "hit_limit": float(column(table, "hit_limit").mean()),
        "samples": table.slice(0, beside.samples).to_pylist(),
    }


def flip(before: Row, after: Row, asked: Mapping[str, Any]) -> dict[str, Any]:
    """The prompt's end, and what was written before and after."""
    return written_flip(before, after, before["output"], after["output"])


KIND = Kind(
    schema=GENERATE,
    load=load,
    prepare=prepare,
    measure=measure,
    summarise=summarise,
    flip=flip,
    keys=("hit_limit",),
    show=metric_lines({}),
)
