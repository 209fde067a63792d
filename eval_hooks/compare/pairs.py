"""Every model against A on every task they share: paired by item, every word at one level over all of it.

Each of m pairs gets alpha / m (Bonferroni), so some interval of the comparison misses its change in alpha at most.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import ceil
from typing import Any

import numpy as np
import pyarrow as pa

from eval_hooks.config import MARGIN
from eval_hooks.copies import clusters_of, worth
from eval_hooks.errors import EvalError
from eval_hooks.evaluations import Evaluation, same_prompts
from eval_hooks.results.text import of_unit
from eval_hooks.retention import paired, retention
from eval_hooks.retention.noise import louder
from eval_hooks.retention.power import items_needed
from eval_hooks.retention.spending import ALPHA, Look
from eval_hooks.table import chance, marks
from eval_hooks.tasks.kinds import kind_of


@dataclass(frozen=True, kw_only=True)
class Pair:
    """One model against A on one task."""

    task: str
    model: int
    """Which of the models, A being 0."""
    n: int
    entry: Mapping[str, Any]
    """As `retention` in a summary, A being the base: the word and `delta_run` hold over all pairs of the comparison
    together, `delta` is this pair's alone. `ece_rise` too where options were scored."""
    p: float
    """McNemar's p times the number of pairs, at most 1. Of items right or wrong neither `dropped` nor `gained` is said
    where it is 5 % or more."""
    needed: int = 0
    """Items that would show a difference of `looked_for`, at the share of flips found (`items_needed`)."""
    looked_for: float = 0.0
    """The margin; where that is 0, the default one. Never the difference found, which says nothing of the next one."""

    @property
    def told_apart(self) -> bool:
        """Whether the interval over all pairs excludes 0."""
        return self.entry["verdict"] in ("dropped", "gained")

    @property
    def pairs(self) -> int:
        """Of the comparison."""
        return int(self.entry["delta_run"]["looks"])

    @property
    def together(self) -> dict[str, Any]:
        """The change with its interval over all pairs."""
        return {**of_unit(self.entry, self.entry["delta_run"]), "value": self.entry["delta"]["value"]}

    @property
    def alone(self) -> Mapping[str, Any]:
        """The change with this pair's own interval."""
        return of_unit(self.entry, self.entry["delta"])

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {**asdict(self), "told_apart": self.told_apart}


@dataclass(frozen=True, kw_only=True)
class Unpaired:
    """A model whose answers to a task cannot be set against A's, and why."""

    task: str
    model: int
    reason: str
    scored: bool = True
    """Whether its items have scores of their own; without them no two models can be paired on it."""


def pair_all(models: Sequence[Evaluation], tasks: Sequence[str] = ()) -> tuple[tuple[Pair, ...], tuple[Unpaired, ...]]:
    """All pairs with the first model, task by task, and what could not be paired; `tasks` (default: A's) limits both.

    Raises EvalError for a task that A was not asked, and where nothing at all is shared.
    """
    base = models[0]
    if unknown := [name for name in tasks if name not in base.tasks()]:
        raise EvalError(f"{base.folder}: not measured on {', '.join(unknown)}; there are: {', '.join(base.tasks())}")
    found: list[Tables] = []
    unpaired: list[Unpaired] = []
    for task in tasks or base.tasks():
        for number, other in enumerate(models[1:], start=1):
            try:
                found.append(_tables(task, number, base, other))
            except UnscoredError as error:
                unpaired.append(Unpaired(task=task, model=number, reason=str(error), scored=False))
            except EvalError as error:
                unpaired.append(Unpaired(task=task, model=number, reason=str(error)))
    if not any(set(base.tasks()) & set(other.tasks()) for other in models[1:]):
        lists = "; ".join(f"{model.folder} has {', '.join(model.tasks()) or 'none'}" for model in models)
        raise EvalError(f"no task is shared: {lists}; evaluate all on one")
    look = Look(alpha=ALPHA / max(1, len(found)), level=1 - ALPHA, looks=len(found))
    return tuple(_pair(tables, base, models[tables.model], look) for tables in found), tuple(unpaired)


@dataclass(frozen=True, kw_only=True)
class Tables:
    """What two models said of the same items."""

    task: str
    model: int
    before: pa.Table
    after: pa.Table


def _tables(task: str, number: int, base: Evaluation, other: Evaluation) -> Tables:
    if task not in other.tasks():
        raise EvalError(f"{task}: {_why_not(task, other)} in {other.folder}")
    same_prompts(task, base, other, "evaluate both on the same items, in the same variant, shots and template")
    before, after = base.table(task), other.table(task)
    try:
        paired(before, after)
    except EvalError as error:
        raise EvalError(f"{task}: {base.folder} and {other.folder}: {error}") from error
    _scored(task, before, after)
    return Tables(task=task, model=number, before=before, after=after)


class UnscoredError(EvalError):
    """A task says nothing of its single items."""


def _scored(task: str, *tables: pa.Table) -> None:
    for table in tables:
        unknown = np.isnan(marks(table))
        if unknown.any():
            item = table.column("item_id")[int(unknown.argmax())].as_py()
            raise UnscoredError(
                f"{task}: item {item} has no score of its own: the metric is made of all items together"
            )


def _pair(tables: Tables, base: Evaluation, other: Evaluation, look: Look) -> Pair:
    entries = [side.tasks()[tables.task] for side in (base, other)]
    said = (entries[1].get("retention") or {}).get("margin")
    margin = MARGIN if said is None else said
    noise = louder(*(one for entry in entries for one in (entry.get("noise"), (entry["retention"] or {}).get("noise"))))
    before, after, step = tables.before, tables.after, int(base.summary["step"])
    entry = retention(before, after, margin, chance(before), step, look, noise=noise)
    entry |= kind_of(after).change(before, after, look)
    return as_pair(tables.task, tables.model, entry, clusters_of(after))


def _why_not(task: str, other: Evaluation) -> str:
    entry = other.summary["tasks"].get(task, {})
    status = entry.get("status")
    if status == "stopped_early":
        return f"not all of its items were scored ({entry['n']} of {entry['of']})"
    return {None: "not asked", "failed": f"its evaluation failed ({entry.get('error')})"}[status]


def as_pair(task: str, number: int, entry: Mapping[str, Any], clusters: np.ndarray | None = None) -> Pair:
    """A pair from its `retention` entry, with the number of items that would show a difference of its margin.

    Where some are copies of each other (`clusters`), items with as many copies among them are meant.
    """
    n, looked_for, run = entry["delta"]["n"], entry["margin"] or MARGIN, entry["delta_run"]
    p = min(1.0, run["looks"] * entry["mcnemar_p"])
    if entry["margin"] is None:  # a score without a margin: no number of items is known to show one
        return Pair(task=task, model=number, n=n, entry=entry, p=p)
    different = items_needed(looked_for, (entry["lost"] + entry["gained"]) / n, run["alpha"])
    needed = ceil(different * n / worth(n, clusters))
    return Pair(task=task, model=number, n=n, entry=entry, p=p, needed=needed, looked_for=looked_for)
