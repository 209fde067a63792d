"""From per-item tables to the numbers of summary.json: nothing here has seen a model."""

from math import inf
from typing import Any

import numpy as np
import pyarrow as pa

from eval_hooks.config import MARGIN, Over
from eval_hooks.copies import clusters_of, told
from eval_hooks.estimate import Estimate, missing, within
from eval_hooks.intervals import bootstrap_mean, share
from eval_hooks.part import summarise_part
from eval_hooks.retention import of_run, retention
from eval_hooks.retention.spending import ALONE, ALPHA, Look
from eval_hooks.stats.score_change import score_mean
from eval_hooks.table import chance, facts_of, marks, scale_of, weights
from eval_hooks.tasks.kinds import kind_of
from eval_hooks.tasks.kinds.kind import Beside
from eval_hooks.waves import Drawn


def summarise_task(
    table: pa.Table,
    *,
    role: str,
    baseline: pa.Table | None = None,
    baseline_step: int = 0,
    margin: float = MARGIN,
    over: Over = "items",
    prompt_hash: str = "",
    first_prompt: str = "",
    samples: int = 8,
    goal: str = "up",
    drawn: Drawn | None = None,
    validation: pa.Table | None = None,
    temperature_split: str | None = None,
    look: Look = ALONE,
) -> dict[str, Any]:
    """The entry of one task: accuracy, calibration, and retention where there is a baseline.

    `look` says what this evaluation may claim, being one of several, and `over` for what its verdict is to hold.
    `drawn` says how the items were drawn, where they were scored in waves; `validation` holds the items of the split
    that a temperature is fitted on. Raises EvalError for tables that are no pair.
    """
    kind, scale = kind_of(table), scale_of(table)
    entry: dict[str, Any] = {
        "role": role,
        "kind": kind.schema.kind,
        "goal": goal,
        "error": None,
        "variant": None,
        "shots": None,
        "prompt_hash": prompt_hash,
        "first_prompt": first_prompt,
    }
    if drawn is not None and not drawn.whole:
        return summarise_part(table, drawn, entry=entry, margin=margin, baseline_step=baseline_step, look=look)
    earned, clusters = marks(table), clusters_of(table)
    n, right = len(earned), _accuracy(table)
    beside = Beside(baseline=baseline, validation=validation, temperature_split=temperature_split, samples=samples)
    return {
        **entry,
        "status": "ok",
        "n": n,
        "of": n,
        "copies": told(table),
        "waves": drawn.record() if drawn else None,
        "accuracy": right.as_dict(),
        "accuracy_run": of_run(accuracy(earned, clusters, look.alpha), look) if scale.share else None,
        **({} if scale.share else {"score": _score(table).as_dict()}),
        "retention": _retention(table, baseline, margin, baseline_step, look, over),
        **facts_of(table),
        **kind.summarise(table, beside),
    }


def _accuracy(table: pa.Table) -> Estimate:
    scale = scale_of(table)
    if not scale.share:
        way = "less" if scale.better == "down" else "more"
        return missing(f"its items have a score in {scale.unit}, {way} is better: see score", table.num_rows)
    return accuracy(marks(table), clusters_of(table))


def _score(table: pa.Table) -> Estimate:
    found = score_mean(marks(table), weights(table), clusters=clusters_of(table))
    return within(found, 0.0, inf) if scale_of(table).unit.startswith(("nats", "bits")) else found


def _retention(
    table: pa.Table, baseline: pa.Table | None, margin: float, baseline_step: int, look: Look, over: Over
) -> dict[str, Any] | None:
    """None without a base, and where an item earned nothing that can be compared."""
    if baseline is None or any(np.isnan(marks(one)).any() for one in (table, baseline)):
        return None
    entry = retention(baseline, table, margin, chance(table), baseline_step, look, over)
    return {**entry, **kind_of(table).change(baseline, table, look)}


def accuracy(marks: np.ndarray, clusters: np.ndarray | None = None, alpha: float = ALPHA) -> Estimate:
    """Share of right items, or mean of what they earned where there are parts; missing where one earned nothing."""
    if np.isnan(marks).any():
        return missing(
            "the metric that decides says of an item neither right nor wrong, nor a part of right", len(marks)
        )
    if np.isin(marks, (0, 1)).all():
        return share(marks, clusters, alpha)
    return bootstrap_mean(marks, clusters=clusters, alpha=alpha)


def failed_task(role: str, error: str) -> dict[str, Any]:
    """The entry of a task that could not be measured: visible, and without a number."""
    return {"role": role, "status": "failed", "error": error, "n": 0, "accuracy": None, "retention": None}


def summarise_held_out(table: pa.Table, baseline: pa.Table | None = None) -> dict[str, Any]:
    """The entry of a validation set; `baseline` is its table at step 0."""
    kind = kind_of(table)
    return {"kind": kind.schema.kind, **kind.summarise(table, Beside(baseline=baseline))}
