"""From a task entry to what is asked: items loaded, rendered for a model, tokenised, and a hash over all of it."""

from collections.abc import Mapping, Sequence
from typing import Any

from eval_hooks.bounded import Call
from eval_hooks.catalog import Judge, row_of
from eval_hooks.config import Role, TaskSpec
from eval_hooks.errors import EvalError
from eval_hooks.harness.ask import ask
from eval_hooks.harness.load import Harness
from eval_hooks.items import ChoiceSet, counted_from_one
from eval_hooks.tasks.kinds import KINDS
from eval_hooks.tasks.prepared import Items, Prepare, Reader, Ready, digest, reader_of, rows_of
from eval_hooks.validation import with_validation

__all__ = ["Items", "Reader", "Ready", "digest", "load_items", "reader_of", "ready"]


def load_items(spec: TaskSpec, rows: Sequence[Mapping[str, Any]] | None = None) -> Items:
    """What a task entry asks. `rows` are those of the task's data source, where it has one.

    Raises EvalError for an unknown task, missing rows, and all that loading refuses.
    """
    task = row_of(spec.task)
    if task.load is not None:
        return with_base(spec, task.home, with_validation(spec, task.load))
    if spec.temperature_split:
        raise EvalError(f"task {spec.task!r}: temperature_split: it scores no options, so nothing is to be fitted")
    if not rows:
        raise EvalError(f"task {spec.task!r}: needs the rows of a data source ({task.source}, say), and got none")
    of_rows = KINDS[task.kind].load
    if of_rows is None:
        raise EvalError(f"task {spec.task!r}: a task of kind {task.kind} needs a `load` of its own")
    return of_rows(rows_of(rows, spec))


MANY = 20
"""Items of which, by chance, one at least would have its first option right."""


def with_base(spec: TaskSpec, home: str, items: Items) -> Items:
    """The items of a task's own loader; a plugin's numbers are told apart as a file's are, where there are enough.

    Raises EvalError where no right option is the first and the entry does not say `gold_base`.
    """
    if home and spec.gold_base is None and isinstance(items, ChoiceSet) and len(items.items) >= MANY:
        doubt = counted_from_one([(f"{spec.called}: {item.item_id}", item.gold) for item in items.items])
        if doubt:
            raise EvalError(f"{doubt} ({home})")
    return items


def ready(spec: TaskSpec, role: Role, reader: Reader, items: Items, judge: Judge | Call | None = None) -> Ready:
    """Render a task's items for a model. Raises EvalError for what rendering refuses."""
    return PREPARE[row_of(spec.task).kind](spec, role, reader, items, judge)


def _prepare_harness(spec: TaskSpec, role: Role, reader: Reader, items: Harness, judge: Any = None) -> Ready:
    asked = ask(items, spec, reader)
    hashed = digest([[one.task_name, one.doc_id, *one.args] for one in asked.requests])
    first = str(asked.requests[0].args[0])
    return Ready(spec=spec, role=role, harness=asked, first_prompt=first, prompt_hash=hashed)


PREPARE: Mapping[str, Prepare] = {
    **{name: kind.prepare for name, kind in KINDS.items() if kind.prepare},
    "harness": _prepare_harness,
}
"""Kind of a task -> what renders it; lm-eval renders its own, whatever the kind of their tables."""
