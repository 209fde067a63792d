"""The tasks that exist. A row is a name and a value; nothing registers itself."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from eval_hooks.config import TaskSpec
from eval_hooks.items import ChoiceSet
from eval_hooks.tasks import mmlu, pocket, sql


@dataclass(frozen=True, kw_only=True)
class Task:
    """A kind of measurement."""

    kind: Literal["choice", "generate"]
    about: str
    load: Callable[[TaskSpec], ChoiceSet] | None = None
    """Items of a multiple-choice task."""
    judge: Callable[[str, str], tuple[bool, str]] | None = None
    """(output, gold) -> (right, reason) of a generative task."""
    source: str | None = None
    """The data source whose rows (prompt, completion) are the items; the caller hands them in."""


TASKS: dict[str, Task] = {
    "mmlu": Task(kind="choice", about="MMLU, 57 subjects: from the hub (cais/mmlu) or by path", load=mmlu.load),
    "pocket": Task(
        kind="choice",
        about="pocket bank: 570 embedded questions over MMLU's subjects, in no training set",
        load=pocket.load,
    ),
    "sql": Task(
        kind="generate",
        about="SQL execution: the result of a query on a small table",
        judge=sql.denotation_match,
        source="sql",
    ),
}
