"""What is measured of every item: right or wrong, and how much of the right answer the model holds.

Discrete scores move only when an item flips; continuous ones move with every update, so that seeds hide less of it.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from eval_hooks.copies import clusters_of
from eval_hooks.results.metrics import guessed, of_items
from eval_hooks.table import scale_of
from eval_hooks.tasks.kinds import kind_of


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A score of each item."""

    values: np.ndarray
    """(n,)."""
    weights: np.ndarray | None = None
    """(n,), where the score is a weighted mean."""
    clusters: np.ndarray | None = None
    """(n,): of items that are copies of each other; None where none are."""
    better: str = "up"
    unit: str = "share"
    chance: float | None = None

    @property
    def score(self) -> float:
        """The mean."""
        return float(np.average(self.values, weights=self.weights))

    @property
    def grain(self) -> float:
        """The step in which the score moves: 1 / n for a share of n items, 0 for one of any size."""
        return 1 / len(self.values) if self.weights is None and np.isin(self.values, (0, 1)).all() else 0.0


def metrics(table: pa.Table, goal: str = "up") -> dict[str, Metric]:
    """A table's metrics by name, as its kind has them, turned by the task's `goal`.

    Those that some item carries nothing for are left out.
    """
    clusters, scale = clusters_of(table), scale_of(table)
    found = {}
    for name, each in kind_of(table).numbers(table).items():
        metric = of_items(name, scale.better).turned(goal)
        found[name] = Metric(
            values=each.values,
            weights=each.weights,
            clusters=clusters,
            better=metric.better or "up",
            unit=scale.unit if name == "score" else metric.unit,
            chance=guessed(metric, table),
        )
    return found
