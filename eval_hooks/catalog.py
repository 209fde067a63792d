"""The tasks that exist. A row is a name and a value; nothing registers itself."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from eval_hooks.config import TaskSpec
from eval_hooks.errors import EvalError
from eval_hooks.harness.load import Harness
from eval_hooks.harness.load import load as load_harness
from eval_hooks.items import ChoiceSet, GenerateItem
from eval_hooks.tasks import mmlu, pocket, sql

Judge = Callable[[str, GenerateItem], tuple[bool, str]]
"""(output, item) -> (right, reason)."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """A kind of measurement."""

    kind: Literal["choice", "generate", "recall", "harness"]
    about: str
    load: Callable[[TaskSpec], ChoiceSet | Harness] | None = None
    """Items of a task that has its own."""
    named: bool = False
    """Written as ROW:NAME, where the name says which of many."""
    judge: Judge | None = None
    """Of a generative task; None where the caller hands it in. Called in a worker process (`eval_hooks.judging`)."""
    home: str = ""
    """The plugin's file; "": this table."""
    decides: Callable[[Mapping[str, Any]], bool] = lambda columns: bool(columns["correct"])
    """Of a recall task: an item's columns -> whether it counts as right; default: all tokens of the value recalled."""
    unseen: bool = True
    """Its items must not be trained on; not where the task asks what training left behind."""
    writes: bool = True
    """A recall task lets the model answer freely too, for ROUGE-L and samples."""
    source: str | None = None
    """The data source whose rows are the items where an entry names no other; the caller hands them in."""


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
        judge=lambda output, item: sql.denotation_match(output, item.gold),
        source="sql",
    ),
    "verified": Task(
        kind="generate",
        about="answers to prompts, judged by the verifier that each row names",
        source="curriculum",
    ),
    "preferred": Task(
        kind="recall",
        about="pairs: whether the chosen answer is the likelier one, per token",
        source="sql_pairs",
        decides=lambda columns: columns["truth_ratio"] < 1.0,
        writes=False,
    ),
    "memorisation": Task(
        kind="recall",
        about="what is known of given answers: exact memorisation, probability, truth ratio, ROUGE-L",
        source="facts",
        unseen=False,
    ),
    "lm_eval": Task(
        kind="harness",
        about="lm_eval:NAME, any task or group of lm-evaluation-harness, or a YAML file in `include_path`",
        load=load_harness,
        named=True,
    ),
}


def row_of(task: str) -> Task:
    """The row of a task as an entry names it. Raises EvalError where there is none."""
    row = find(task, TASKS)
    if row is None:
        raise EvalError(f"task {task!r}: no such task; there are: {', '.join(names(TASKS))}")
    return row


def find(task: str, rows: Mapping[str, Task]) -> Task | None:
    """The row of NAME, or of ROW:NAME."""
    head, colon, name = task.partition(":")
    row = rows.get(head)
    return row if row is not None and row.named == bool(name) and row.named == bool(colon) else None


def names(rows: Mapping[str, Task]) -> list[str]:
    """What an entry may name."""
    return [f"{name}:NAME" if row.named else name for name, row in rows.items()]
