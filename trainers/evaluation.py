"""The recipe's evaluation, through eval_hooks: rows of data sources are handed in, to keep packages apart."""

from random import Random
from typing import Any

from data_mix.build import Mix
from data_mix.catalog import SOURCES
from eval_hooks.callback import CheckpointEval
from eval_hooks.catalog import TASKS
from eval_hooks.config import TaskSpec
from eval_hooks.items import LossItem
from trainers.recipe import Recipe


def checkpoint_eval(recipe: Recipe, mix: Mix) -> CheckpointEval:
    """The callback that measures at step 0, every `eval.every` and at the end; its items are loaded and checked."""
    section = recipe.eval
    return CheckpointEval(
        target=section.target,
        retain=section.retain,
        every=section.every,
        rows={
            spec.name or spec.task: source_rows(spec)
            for spec in (*section.target, *section.retain)
            if TASKS[spec.task].source
        },
        losses={name: [loss_item(name, i, row) for i, row in enumerate(rows)] for name, rows in mix.validation.items()},
        margin=section.margin,
        budget=section.budget,
        on_error=section.on_error,
        samples=section.samples,
        template_kwargs=recipe.model.chat_template_kwargs,
    )


def source_rows(spec: TaskSpec) -> list[dict[str, Any]]:
    """Rows of the data source that a task scores, seeded by the entry itself."""
    source = SOURCES[TASKS[spec.task].source or ""]
    return list(
        source.rows(source.config(**{"split": spec.split, **spec.source}), Random(f"eval/{spec.name or spec.task}"))
    )


def loss_item(name: str, index: int, row: Any) -> LossItem:
    """A tokenised validation row as eval_hooks takes it."""
    return LossItem(item_id=f"{name}/{index}", input_ids=tuple(row.input_ids), labels=tuple(row.labels))
