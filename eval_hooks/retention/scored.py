"""The `retention` entry of a task whose items are neither right nor wrong: paired changes of their scores.

`lost` are the items whose score got worse, `gained` those that got better. Nearly all move, so what rests on a share of
items that flip is null: the evidence is the interval of the change, in the score's own unit.
"""

import numpy as np
import pyarrow as pa

from eval_hooks.copies import clusters_of
from eval_hooks.estimate import Estimate, missing
from eval_hooks.retention.flips import mcnemar_exact
from eval_hooks.retention.interval import Clusters
from eval_hooks.retention.spending import ALPHA, Look
from eval_hooks.stats.score_change import direction, score_mean
from eval_hooks.table import marks, scale_of, weights

LIKE_THESE = "items like these"
NO_COUNT = "the items are neither right nor wrong"
COUNTED = (
    "e_value", "e_value_drop", "log_e_value", "log_e_value_drop", "noise", "noise_flips", "noise_most",
    "minimum_detectable", "margin",
)  # fmt: skip
"""What rests on counts of flips, or on a margin in points."""


def of_run(estimate: Estimate, look: Look) -> dict[str, object]:
    """The interval of a look as one of its run's."""
    return {"low": estimate.low, "high": estimate.high, "level": look.level, "looks": look.looks, "alpha": look.alpha}


def score_retention(before: pa.Table, after: pa.Table, baseline_step: int, look: Look) -> dict[str, object]:
    """The entry of two tables that are a pair; `delta` and `delta_run` are in `unit`, and `better` says which way."""
    scale, clusters = scale_of(after, before), clusters_of(after)
    change = marks(after) - marks(before)
    risen = change if scale.better == "up" else -change
    counted = weights(after)
    delta, over_run = (score_mean(change, counted, alpha, clusters) for alpha in (ALPHA, look.alpha))
    worse, better = int((risen < 0).sum()), int((risen > 0).sum())
    flips = (
        Clusters.of(risen, clusters) if clusters is not None else Clusters(lost=worse, gained=better, worth=len(risen))
    )
    none = missing(NO_COUNT, len(change)).as_dict()
    known = bool(np.isfinite(change).all())
    return {
        "baseline_step": baseline_step,
        "over": LIKE_THESE,
        "unit": scale.unit,
        "better": scale.better,
        "lost": worse,
        "gained": better,
        "delta": delta.as_dict(),
        "delta_run": of_run(over_run, look),
        "mcnemar_p": mcnemar_exact(flips.lost, flips.gained) if known else None,
        **dict.fromkeys(
            (
                "e_value",
                "e_value_drop",
                "log_e_value",
                "log_e_value_drop",
                "noise",
                "noise_flips",
                "noise_most",
                "minimum_detectable",
                "margin",
            )
        ),
        **dict.fromkeys(
            ("delta_clustered", "chance_corrected", "delta_logp_gold", "churn", "forgetting", "backward_transfer"), none
        ),
        "verdict": direction(over_run, scale.better),
    }
