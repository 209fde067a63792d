"""What a kind of measurement is: one module each prepares its items, measures, summarises and shows them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from eval_hooks.forward import Progress
from eval_hooks.items import ChoiceItem
from eval_hooks.results.schemas import Schema
from eval_hooks.results.text import value
from eval_hooks.retention.spending import Look
from eval_hooks.table import marks, scale_of, weights
from eval_hooks.tasks.prepared import Prepare, Reader, Ready

Entry = Mapping[str, Any]
"""Of a task or validation set in a summary."""
Row = Mapping[str, Any]
"""Of a per-item table."""


@dataclass(frozen=True, kw_only=True)
class Beside:
    """What an entry is made from beside its own table."""

    baseline: pa.Table | None = None
    validation: pa.Table | None = None
    """The items that a temperature is fitted on."""
    temperature_split: str | None = None
    samples: int = 8
    """Answers that are kept to be read."""


@dataclass(frozen=True, kw_only=True)
class ItemNumbers:
    """A number of each item, by which runs are set beside each other."""

    values: np.ndarray
    """(n,)."""
    weights: np.ndarray | None = None
    """(n,), where the score is a weighted mean."""


def nothing(*_: Any) -> dict[str, Any]:
    """Of a kind that has no more to say."""
    return {}


def silent(*_: Any) -> list[str]:
    """Of a kind that has no more to show."""
    return []


def metric_lines(names: Mapping[str, str]) -> Callable[[Entry, Entry], list[str]]:
    """Shows the metrics of an entry, one line each; `names` are those that have a plainer one."""

    def lines(before: Entry, after: Entry) -> list[str]:
        old = before.get("metrics") or {}
        return [
            f"{names.get(key, key)} {value(old[key])} -> {value(entry)}"
            for key, entry in (after.get("metrics") or {}).items()
            if entry["value"] is not None and key in old
        ]

    return lines


def score_numbers(table: pa.Table) -> dict[str, ItemNumbers]:
    """What the items earned: `accuracy` where it is right or wrong or a part of it, else `score`."""
    name = "accuracy" if scale_of(table).share else "score"
    return {name: ItemNumbers(values=marks(table), weights=weights(table))}


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of measurement, as one value."""

    schema: Schema
    load: Callable[[Sequence[tuple[Row, str]]], tuple[Any, ...]] | None = None
    """Items from a data source's rows and their ids; None where a task or lm-eval has items of its own."""
    prepare: Prepare | None = None
    """None: of held-out rows, and of lm-eval's tasks."""
    measure: Callable[[Ready, Any, Reader, Progress], pa.Table] | None = None
    summarise: Callable[[pa.Table, Beside], dict[str, Any]] = nothing
    """What an entry has beside accuracy and retention; of a validation set the whole entry."""
    change: Callable[[pa.Table, pa.Table, Look], dict[str, Any]] = nothing
    """What a retention entry has beside the paired change of the score: (before, after, look)."""
    numbers: Callable[[pa.Table], dict[str, ItemNumbers]] = score_numbers
    """By metric."""
    flip: Callable[[Row, Row, Mapping[str, ChoiceItem]], dict[str, Any]] = nothing
    """An item that flipped, to read: (row before, row after, questions by id)."""
    keys: tuple[str, ...] = ()
    """What evaluations log of it beside what every task has, after `eval/<task>/`."""
    show: Callable[[Entry, Entry], list[str]] = silent
    """What is shown below its number, before and after."""
    held_out: Callable[[str, Entry, Entry], tuple[str, str]] | None = None
    """Of a validation set: (what was measured, before and after) in words."""
