"""What is measured of every item: right or wrong, and how much of the right answer the model holds.

Discrete scores move only when an item flips; continuous ones move with every update, so that seeds hide less of it.
"""

from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from eval_hooks.calibration.nll import nll
from eval_hooks.copies import clusters_of
from eval_hooks.retention import gold_logp
from eval_hooks.table import RECALL_METRICS, chance, column, kind_of


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
    chance: float | None = None

    @property
    def score(self) -> float:
        """The mean."""
        return float(np.average(self.values, weights=self.weights))

    @property
    def grain(self) -> float:
        """The step in which the score moves: 1 / n for a share of n items, 0 for one of any size."""
        return 1 / len(self.values) if self.weights is None and np.isin(self.values, (0, 1)).all() else 0.0


def metrics(table: pa.Table) -> dict[str, Metric]:
    """A table's metrics by name; those that some item carries nothing for are left out.

    Choices: accuracy; p_gold, the right option's probability among the options; nll, its negative logarithm; logp_gold,
    its raw log-probability; in cloze form bits_per_char. Recall: the columns of its table. Losses: nats a token.
    """
    clusters = clusters_of(table)
    return {name: replace(metric, clusters=clusters) for name, metric in _each(table).items()}


def _each(table: pa.Table) -> dict[str, Metric]:
    kind = kind_of(table)
    if kind == "loss":
        tokens = column(table, "n_tokens").astype(float)
        each = column(table, "nll") / np.maximum(tokens, 1.0)
        return {"loss": Metric(values=each, weights=tokens, better="down")} if tokens.sum() else {}
    found = {"accuracy": Metric(values=column(table, "correct").astype(float), chance=chance(table))}
    if kind == "recall":
        full = [name for name in RECALL_METRICS if table.column(name).null_count == 0]
        better = {"truth_ratio": "down"}
        return found | {name: Metric(values=column(table, name), better=better.get(name, "up")) for name in full}
    return found | _choices(table) if kind == "choice" else found


def _choices(table: pa.Table) -> dict[str, Metric]:
    p_gold, logp, options = column(table, "p_gold"), gold_logp(table), column(table, "n_options").astype(float)
    found = {
        "p_gold": Metric(values=p_gold, chance=chance(table)),
        "nll": Metric(values=nll(p_gold), better="down", chance=float(np.log(options).mean())),
        "logp_gold": Metric(values=logp),
    }
    if table.column("letter_mass").null_count < table.num_rows:
        return found
    chars = [c[gold] for c, gold in zip(*(table.column(name).to_pylist() for name in ("chars", "gold")), strict=True)]
    bits = -logp / np.log(2.0) / np.maximum(np.array(chars, dtype=float), 1.0)
    return found | {"bits_per_char": Metric(values=bits, better="down")}
