"""Every model against A on every task they share: paired by item, Holm's p over all of it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import ceil
from typing import Any

import numpy as np

from eval_hooks.calibration.rise import ece_rise
from eval_hooks.config import MARGIN
from eval_hooks.copies import clusters_of, worth
from eval_hooks.errors import EvalError
from eval_hooks.evaluations import Evaluation
from eval_hooks.retention import retention
from eval_hooks.retention.power import items_needed
from eval_hooks.retention.subjects import holm
from eval_hooks.table import chance, kind_of

LEVEL = 0.05
"""A difference is told where Holm's p is below."""


@dataclass(frozen=True, kw_only=True)
class Pair:
    """One model against A on one task."""

    task: str
    model: int
    """Which of the models, A being 0."""
    n: int
    entry: Mapping[str, Any]
    """As `retention` in a summary, A being the base; `ece_rise` too where options were scored."""
    p_holm: float = 1.0
    """McNemar's p, adjusted for all pairs of the comparison."""
    needed: int = 0
    """Items that would show a difference of `looked_for`, at the share of flips found (`items_needed`)."""
    looked_for: float = 0.0
    """The margin; where that is 0, the default one. Never the difference found, which says nothing of the next one."""

    @property
    def told_apart(self) -> bool:
        """The paired interval excludes 0, and Holm's p is below 5 %."""
        return self.entry["verdict"] in ("dropped", "gained") and self.p_holm < LEVEL

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {**asdict(self), "told_apart": self.told_apart}


@dataclass(frozen=True, kw_only=True)
class Unpaired:
    """A model whose answers to a task cannot be set against A's, and why."""

    task: str
    model: int
    reason: str


def pair_all(models: Sequence[Evaluation], tasks: Sequence[str] = ()) -> tuple[tuple[Pair, ...], tuple[Unpaired, ...]]:
    """All pairs with the first model, task by task, and what could not be paired; `tasks` (default: A's) limits both.

    Raises EvalError for a task that A was not asked, and where nothing at all is shared.
    """
    base = models[0]
    if unknown := [name for name in tasks if name not in base.tasks()]:
        raise EvalError(f"{base.folder}: not measured on {', '.join(unknown)}; there are: {', '.join(base.tasks())}")
    pairs: list[Pair] = []
    unpaired: list[Unpaired] = []
    for task in tasks or base.tasks():
        for number, other in enumerate(models[1:], start=1):
            try:
                pairs.append(_pair(task, number, base, other))
            except EvalError as error:
                unpaired.append(Unpaired(task=task, model=number, reason=str(error)))
    if not any(set(base.tasks()) & set(other.tasks()) for other in models[1:]):
        lists = "; ".join(f"{model.folder} has {', '.join(model.tasks()) or 'none'}" for model in models)
        raise EvalError(f"no task is shared: {lists}; evaluate all on one")
    adjusted = holm([pair.entry["mcnemar_p"] for pair in pairs])
    return tuple(replace(pair, p_holm=p) for pair, p in zip(pairs, adjusted, strict=True)), tuple(unpaired)


def _pair(task: str, number: int, base: Evaluation, other: Evaluation) -> Pair:
    if task not in other.tasks():
        raise EvalError(f"{task}: {_why_not(task, other)} in {other.folder}")
    hashes = [side.tasks()[task]["prompt_hash"] for side in (base, other)]
    if hashes[0] != hashes[1]:
        raise EvalError(
            f"{task}: asked with other prompts (hash {hashes[0]} in {base.folder}, {hashes[1]} in {other.folder}); "
            "evaluate both in the same variant, shots and template"
        )
    before, after = base.table(task), other.table(task)
    margin = (other.tasks()[task].get("retention") or {}).get("margin", MARGIN)
    try:
        entry = retention(before, after, margin, chance(before), int(base.summary["step"]))
    except EvalError as error:
        raise EvalError(f"{task}: {base.folder} and {other.folder}: {error}") from error
    if kind_of(before) == "choice":
        entry["ece_rise"] = ece_rise(before, after).as_dict()
    return as_pair(task, number, entry, clusters_of(after))


def _why_not(task: str, other: Evaluation) -> str:
    status = other.summary["tasks"].get(task, {}).get("status")
    return {None: "not asked", "failed": "its evaluation failed"}.get(status, "not all of its items were scored")


def as_pair(task: str, number: int, entry: Mapping[str, Any], clusters: np.ndarray | None = None) -> Pair:
    """A pair from its `retention` entry, with the number of items that would show a difference of its margin.

    Where some are copies of each other (`clusters`), items with as many copies among them are meant.
    """
    n, looked_for = entry["delta"]["n"], entry["margin"] or MARGIN
    needed = ceil(items_needed(looked_for, (entry["lost"] + entry["gained"]) / n) * n / worth(n, clusters))
    return Pair(task=task, model=number, n=n, entry=entry, needed=needed, looked_for=looked_for)
