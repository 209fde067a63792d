"""Which items carry the score: how many models are right, and whether those are the better models.

The paper's finding stands beside it: dropping what discriminates badly moves the mean and hardly the seeds' spread.
Item-response subsets (tinyBenchmarks) are not offered: they add noise to the order of models that are alike.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa


@dataclass(frozen=True, kw_only=True)
class Items:
    """The items of a task, counted."""

    n: int
    never: int
    """Right in no model."""
    always: int
    """Right in all of them."""
    against: int
    """Discrimination below 0: the worse models are right."""
    kept: int
    """Discrimination above 0."""
    mu_kept: float | None
    """Mean accuracy at the last checkpoint on those alone."""
    sigma_kept: float | None
    """Its spread over runs."""

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def difficulty(correct: np.ndarray) -> np.ndarray:
    """Share of models (R, n) that are right, (n,)."""
    return correct.mean(axis=0)


def discrimination(correct: np.ndarray) -> np.ndarray:
    """Point-biserial correlation of items with the total score over models (R, n) -> (n,); NaN for a constant one."""
    centred = correct - correct.mean(axis=0)
    total = correct.mean(axis=1) - correct.mean()
    scale = np.sqrt((centred**2).sum(axis=0) * (total**2).sum())
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(scale > 0, centred.T @ total / scale, np.nan)


def analyse(correct: np.ndarray) -> Items:  # (runs, checkpoints, n) of 0 and 1
    """Every run at every checkpoint is a model; mean and spread are of the last checkpoint."""
    models = _models(correct)
    share, found = difficulty(models), discrimination(models)
    kept = found > 0
    last = correct[:, -1][:, kept].mean(axis=1) if kept.any() else None
    return Items(
        n=correct.shape[-1],
        never=int((share == 0).sum()),
        always=int((share == 1).sum()),
        against=int((found < 0).sum()),
        kept=int(kept.sum()),
        mu_kept=None if last is None else float(last.mean()),
        sigma_kept=None if last is None else float(last.std(ddof=1)),
    )


def item_table(task: str, item_ids: Sequence[str], correct: np.ndarray) -> pa.Table:
    """Every item with its difficulty and discrimination (null for one that all models answer alike)."""
    models = _models(correct)
    return pa.table(
        {
            "task": [task] * len(item_ids),
            "item_id": list(item_ids),
            "difficulty": difficulty(models),
            "discrimination": pa.array(discrimination(models), from_pandas=True),
        }
    )


def _models(correct: np.ndarray) -> np.ndarray:
    """(..., n) as (models, n), where there are no items too: no task may be right or wrong."""
    return correct.reshape(int(np.prod(correct.shape[:-1])), correct.shape[-1])
