"""Every calibration number of a per-item table, each with its interval, all over the same resampled items."""

from dataclasses import replace

import numpy as np
import pyarrow as pa

from eval_hooks.calibration.brier import brier, brier_top_label
from eval_hooks.calibration.ece import classwise_ece, ece, ece_debiased, mce, rms_ce
from eval_hooks.calibration.nll import nll
from eval_hooks.calibration.ranking import COVERAGES, RISK, accuracy_at, aurc, auroc, coverage_at, e_aurc
from eval_hooks.calibration.resampled import Binned, Sorted
from eval_hooks.calibration.smooth import smooth_ece, smooth_eces
from eval_hooks.copies import clusters_of
from eval_hooks.estimate import Estimate
from eval_hooks.intervals import bootstrap
from eval_hooks.table import column, probabilities

FEWEST_IN_BIN = 10
"""Items of a bin whose gap may be called the largest."""
BIASED_UP = "biased up by noise, so no coverage is claimed (see ece_debiased)"
NEAR_0 = "no coverage is claimed near 0, where a resample adds noise of its own"
UNCLAIMED = {
    **dict.fromkeys(("ece", "ece_equal_mass", "rms", "mce", "classwise_ece"), BIASED_UP),
    **dict.fromkeys(("ece_debiased", "smooth_ece"), NEAR_0),
    f"coverage_at_risk_{round(100 * RISK)}": "a largest share that noise decides on: no coverage is claimed",
}
"""Numbers whose intervals say how far resamples scatter, no more, and why; said with each. By simulation (300 items): a
calibrated model's ECE of 0 is never held, one of .05 by the debiased interval in 80 %, one of .15 by both in 95 %."""


def calibration(table: pa.Table) -> dict[str, Estimate]:
    """Every calibration number with its interval, all over the same resampled items."""
    conf, correct, p_gold = column(table, "conf"), column(table, "correct").astype(float), column(table, "p_gold")
    p, gold = probabilities(table), column(table, "gold")
    means = {"brier": brier(p, gold), "brier_top_label": brier_top_label(conf, correct), "nll": nll(p_gold)}
    values = {
        "ece": ece(conf, correct),
        "ece_equal_mass": ece(conf, correct, equal_mass=True),
        "ece_debiased": ece_debiased(conf, correct),
        "rms": rms_ce(conf, correct),
        "mce": mce(conf, correct, fewest=FEWEST_IN_BIN),
        "auroc": auroc(conf, correct),
        "aurc": aurc(conf, correct),
        "e_aurc": e_aurc(conf, correct),
        **{f"accuracy_at_{round(100 * c)}": accuracy_at(conf, correct, c) for c in COVERAGES},
        f"coverage_at_risk_{round(100 * RISK)}": coverage_at(conf, correct, RISK),
        "classwise_ece": classwise_ece(p, gold),
        **{name: float(each.mean()) for name, each in means.items()},
    }
    binned, ordered = Binned(conf, correct, p, gold), Sorted(conf, correct)

    def drawn(counts: np.ndarray) -> dict[str, np.ndarray]:
        return {
            **binned.numbers(counts, FEWEST_IN_BIN),
            **ordered.numbers(counts),
            **{name: counts @ each / len(each) for name, each in means.items()},
        }

    clusters = clusters_of(table)
    found = bootstrap(values, drawn, len(conf), clusters=clusters)
    every = {**found, **_smooth(conf, correct, clusters)}
    return {
        name: noted(estimate, UNCLAIMED[name]) if name in UNCLAIMED else estimate for name, estimate in every.items()
    }


def noted(estimate: Estimate, note: str) -> Estimate:
    """With a note on its interval, where there is one."""
    return replace(estimate, method=f"{estimate.method}; {note}") if estimate.method else estimate


def _smooth(conf: np.ndarray, correct: np.ndarray, clusters: np.ndarray | None) -> dict[str, Estimate]:
    """Smooth ECE over the first 100 of the resamples: some 2 ms each, at any number of items."""

    def drawn(counts: np.ndarray) -> dict[str, np.ndarray]:
        return {"smooth_ece": smooth_eces(conf, correct, counts)}

    return bootstrap({"smooth_ece": smooth_ece(conf, correct)}, drawn, len(conf), 100, clusters=clusters)
