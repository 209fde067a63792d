"""Held-out preference pairs: how likely either answer is, and what changed since step 0.

The model at step 0 is the reference, and its numbers are in step 0's table: no second model is needed. With c, r the
summed log-probabilities of chosen and rejected now, and c0, r0 at step 0: margin = (c - c0) - (r - r0), in nats; DPO's
reward margin is beta times that. A pair counts as right where the margin is above 0 (Rafailov et al. 2023,
arXiv:2305.18290); where both c and r fall, the chosen answer is displaced too (Razin et al. 2024, arXiv:2410.08847).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from eval_hooks.estimate import missing
from eval_hooks.forward import Progress, no_progress
from eval_hooks.intervals import bootstrap_mean, share
from eval_hooks.items import LossItem
from eval_hooks.losses import token_losses
from eval_hooks.table import column

PAIRS = pa.schema(
    [
        ("task", pa.string()),
        ("item_id", pa.string()),
        ("chosen_logp", pa.float64()),
        ("rejected_logp", pa.float64()),
        ("chosen_tokens", pa.int32()),
        ("rejected_tokens", pa.int32()),
    ]
)


@dataclass(frozen=True, kw_only=True)
class PairItem:
    """A prompt with two answers, tokenised."""

    item_id: str
    chosen: LossItem
    rejected: LossItem


def pairs_table(name: str, model: Any, items: Sequence[PairItem], progress: Progress = no_progress) -> pa.Table:
    """One row a pair."""
    sides = [answer for item in items for answer in (item.chosen, item.rejected)]
    found = token_losses(model, sides, progress=lambda done: progress(done // 2))
    rows = [
        {
            "task": name,
            "item_id": item.item_id,
            "chosen_logp": -chosen[0],
            "rejected_logp": -rejected[0],
            "chosen_tokens": chosen[1],
            "rejected_tokens": rejected[1],
        }
        for item, chosen, rejected in zip(items, found[::2], found[1::2], strict=True)
    ]
    return pa.Table.from_pylist(rows, schema=PAIRS)


def summarise_pairs(table: pa.Table, baseline: pa.Table | None) -> dict[str, Any]:
    """Accuracy, margin, and what became of either answer, each with its interval; the margin needs step 0's table."""
    chosen, rejected = column(table, "chosen_logp"), column(table, "rejected_logp")
    likelier = share(chosen / column(table, "chosen_tokens") > rejected / column(table, "rejected_tokens"))
    entry: dict[str, Any] = {
        "kind": "pairs",
        "n": table.num_rows,
        "chosen_logp": bootstrap_mean(chosen).as_dict(),
        "rejected_logp": bootstrap_mean(rejected).as_dict(),
        "likelier": likelier.as_dict(),
    }
    if baseline is None:
        none = missing("step 0 is what margins are measured against", table.num_rows).as_dict()
        return {**entry, "accuracy": none, "margin": none, "chosen_change": none, "rejected_change": none}
    up = chosen - column(baseline, "chosen_logp")
    down = rejected - column(baseline, "rejected_logp")
    margin = up - down
    return {
        **entry,
        "accuracy": share(np.asarray(margin > 0)).as_dict(),
        "margin": bootstrap_mean(margin).as_dict(),
        "chosen_change": bootstrap_mean(up).as_dict(),
        "rejected_change": bootstrap_mean(down).as_dict(),
    }
