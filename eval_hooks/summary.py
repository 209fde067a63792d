"""From per-item tables to the numbers of summary.json: nothing here has seen a model."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from eval_hooks.calibration.brier import brier, brier_top_label, decompose
from eval_hooks.calibration.ece import classwise_ece, ece, ece_debiased, mce, reliability, rms_ce, smooth_ece
from eval_hooks.calibration.nll import clipped, nll
from eval_hooks.calibration.ranking import accuracy_at, aurc, auroc, coverage_at, e_aurc
from eval_hooks.config import MARGIN
from eval_hooks.estimate import Estimate, missing
from eval_hooks.intervals import bootstrap, bootstrap_mean, share
from eval_hooks.retention import retention
from eval_hooks.retention.subjects import by_group
from eval_hooks.table import RECALL_METRICS, column, facts_of, kind_of, marks, probabilities
from eval_hooks.tasks.categories import CATEGORY_OF

FEWEST_IN_BIN = 10
"""Items of a bin whose gap may be called the largest."""


def summarise_task(
    table: pa.Table,
    *,
    role: str,
    baseline: pa.Table | None = None,
    baseline_step: int = 0,
    margin: float = MARGIN,
    prompt_hash: str = "",
    first_prompt: str = "",
    samples: int = 8,
    goal: str = "up",
) -> dict[str, Any]:
    """The entry of one task: accuracy, calibration, and retention where there is a baseline.

    Raises EvalError for tables that are no pair.
    """
    kind = kind_of(table)
    correct = marks(table)
    n, right = len(correct), accuracy(correct)
    paired = baseline is not None and right.value is not None
    entry: dict[str, Any] = {
        "role": role,
        "kind": kind,
        "goal": goal,
        "status": "ok",
        "error": None,
        "n": n,
        "of": n,
        "variant": table.column("variant")[0].as_py() if kind == "choice" else None,
        "shots": table.column("shots")[0].as_py() if kind == "choice" else None,
        "prompt_hash": prompt_hash,
        "first_prompt": first_prompt,
        "accuracy": right.as_dict(),
        "retention": retention(baseline, table, margin, chance(table), baseline_step) if paired else None,
        **facts_of(table),
    }
    if kind == "recall":
        metrics = {name: _mean_of(table, name).as_dict() for name in RECALL_METRICS}
        written = table.column("output").null_count == 0
        return {**entry, "metrics": metrics, "samples": table.slice(0, samples).to_pylist() if written else []}
    if kind == "generate":
        return {
            **entry,
            "hit_limit": float(column(table, "hit_limit").mean()),
            "samples": table.slice(0, samples).to_pylist(),
        }
    if kind == "score":
        return entry
    if baseline is not None:
        entry["retention"]["ece_rise"] = ece_rise(baseline, table).as_dict()
    conf = column(table, "conf")
    return {
        **entry,
        "chance": chance(table),
        "accuracy_macro": macro(table).as_dict(),
        "calibration": {name: e.as_dict() for name, e in calibration(table).items()},
        "brier_terms": vars(decompose(conf, correct)),
        "ties": int(column(table, "tie").sum()),
        "nll_clipped": clipped(column(table, "p_gold")),
        "letter_mass": None
        if table.column("letter_mass").null_count == n
        else float(np.nanmean(column(table, "letter_mass"))),
        "by_subject": by_group(table, baseline),
        "by_category": by_group(table, baseline, lambda subject: CATEGORY_OF.get(subject, "other subjects")),
        "reliability": reliability(conf, correct),
    }


def accuracy(marks: np.ndarray) -> Estimate:
    """Share of right items, or mean of what they earned where there are parts; missing where one earned nothing."""
    if np.isnan(marks).any():
        return missing(
            "the metric that decides says of an item neither right nor wrong, nor a part of right", len(marks)
        )
    return share(marks) if np.isin(marks, (0, 1)).all() else bootstrap_mean(marks)


def _mean_of(table: pa.Table, name: str) -> Estimate:
    """Mean of a column with its bootstrap interval; missing where no item has it."""
    values = np.array(table.column(name).to_pylist(), dtype=float)
    if np.isnan(values).any():
        return missing(f"the items carry nothing to compute {name} from", len(values))
    return bootstrap_mean(values)


def failed_task(role: str, error: str) -> dict[str, Any]:
    """The entry of a task that could not be measured: visible, and without a number."""
    return {"role": role, "status": "failed", "error": error, "n": 0, "accuracy": None, "retention": None}


def summarise_loss(table: pa.Table) -> dict[str, Any]:
    """Mean loss per trained token in nats, interval over resampled rows."""
    total, tokens = column(table, "nll"), column(table, "n_tokens")

    def mean(index: np.ndarray) -> float | None:
        return float(total[index].sum() / tokens[index].sum()) if tokens[index].sum() else None

    return {"loss": bootstrap(mean, table.num_rows).as_dict(), "n": table.num_rows, "tokens": int(tokens.sum())}


def chance(table: pa.Table) -> float:
    """Accuracy of guessing: mean of 1 / number of options; 0 for free answers."""
    return float((1.0 / column(table, "n_options")).mean()) if kind_of(table) == "choice" else 0.0


def macro(table: pa.Table) -> Estimate:
    """Unweighted mean of the subjects' accuracies.

    Interval with subjects fixed, items resampled within them (stratified, normal).
    """
    subjects, correct = column(table, "subject"), column(table, "correct").astype(float)
    groups = [correct[subjects == name] for name in np.unique(subjects)]
    value = float(np.mean([g.mean() for g in groups]))
    if min(map(len, groups)) < 2:
        return Estimate(value=value, n=len(correct), reason="a subject with one item has no spread, so no interval")
    half = 1.96 * np.sqrt(sum(g.var(ddof=1) / len(g) for g in groups)) / len(groups)
    return Estimate(
        value=value,
        low=float(value - half),
        high=float(value + half),
        n=len(correct),
        method="stratified by subject, normal",
    )


def calibration(table: pa.Table) -> dict[str, Estimate]:
    """Every calibration number with its interval."""
    conf, correct, p_gold = column(table, "conf"), column(table, "correct").astype(float), column(table, "p_gold")
    p, gold = probabilities(table), column(table, "gold")
    top: dict[str, Callable[..., float | None]] = {
        "ece": ece,
        "ece_equal_mass": partial(ece, equal_mass=True),
        "ece_debiased": ece_debiased,
        "rms": rms_ce,
        "mce": partial(mce, fewest=FEWEST_IN_BIN),
        "auroc": auroc,
        "aurc": aurc,
        "e_aurc": e_aurc,
        "accuracy_at_50": partial(accuracy_at, coverage=0.5),
        "accuracy_at_80": partial(accuracy_at, coverage=0.8),
        "accuracy_at_90": partial(accuracy_at, coverage=0.9),
        "coverage_at_risk_5": partial(coverage_at, risk=0.05),
    }
    return {
        **{name: bootstrap(_of_items(number, conf, correct), len(conf)) for name, number in top.items()},
        "smooth_ece": bootstrap(_of_items(smooth_ece, conf, correct), len(conf), resamples=100),
        "classwise_ece": bootstrap(_of_items(classwise_ece, p, gold), len(conf)),
        "brier": bootstrap_mean(brier(p, gold)),
        "brier_top_label": bootstrap_mean(brier_top_label(conf, correct)),
        "nll": bootstrap_mean(nll(p_gold)),
    }


def _of_items(number: Callable[..., float | None], *columns: np.ndarray) -> Callable[[np.ndarray], float | None]:
    """A number of columns as a number of item indices."""
    return lambda index: number(*(values[index] for values in columns))


def ece_rise(before: pa.Table, after: pa.Table) -> Estimate:
    """ECE after minus before, the same items resampled together."""
    a, b = ((column(t, "conf"), column(t, "correct").astype(float)) for t in (before, after))
    return bootstrap(lambda i: ece(b[0][i], b[1][i]) - ece(a[0][i], a[1][i]), len(a[0]))
