"""From per-item tables to the numbers of summary.json: nothing here has seen a model."""

from typing import Any

import numpy as np
import pyarrow as pa

from eval_hooks.calibration.brier import decompose
from eval_hooks.calibration.ece import reliability
from eval_hooks.calibration.nll import clipped
from eval_hooks.calibration.numbers import calibration
from eval_hooks.calibration.rescaled import rescaled
from eval_hooks.calibration.rise import ece_rise
from eval_hooks.config import MARGIN, Over
from eval_hooks.copies import clusters_of, told
from eval_hooks.estimate import Estimate, missing
from eval_hooks.intervals import Z, bootstrap, bootstrap_mean, once, ratio, share
from eval_hooks.part import summarise_part
from eval_hooks.retention import of_run, retention
from eval_hooks.retention.noise import noise_of
from eval_hooks.retention.spending import ALONE, ALPHA, Look
from eval_hooks.retention.subjects import by_group
from eval_hooks.table import RECALL_METRICS, chance, column, facts_of, kind_of, marks
from eval_hooks.tasks.categories import CATEGORY_OF
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
    kind = kind_of(table)
    entry: dict[str, Any] = {
        "role": role,
        "kind": kind,
        "goal": goal,
        "error": None,
        "variant": table.column("variant")[0].as_py() if kind == "choice" else None,
        "shots": table.column("shots")[0].as_py() if kind == "choice" else None,
        "prompt_hash": prompt_hash,
        "first_prompt": first_prompt,
    }
    if drawn is not None and not drawn.whole:
        return summarise_part(table, drawn, entry=entry, margin=margin, baseline_step=baseline_step, look=look)
    correct = marks(table)
    n, right = len(correct), accuracy(correct, clusters_of(table))
    paired = baseline is not None and right.value is not None
    entry |= {
        "status": "ok",
        "n": n,
        "of": n,
        "copies": told(table),
        "waves": drawn.record() if drawn else None,
        "accuracy": right.as_dict(),
        "accuracy_run": of_run(accuracy(correct, clusters_of(table), look.alpha), look),
        "retention": retention(baseline, table, margin, chance(table), baseline_step, look, over) if paired else None,
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
        entry["retention"]["ece_rise_run"] = of_run(ece_rise(baseline, table, look.alpha), look)
    return {**entry, **_of_options(table, baseline, validation, temperature_split)}


def _of_options(
    table: pa.Table, baseline: pa.Table | None, validation: pa.Table | None, temperature_split: str | None
) -> dict[str, Any]:
    """What only tables of options have: calibration, letters, subjects."""
    conf, mass = column(table, "conf"), column(table, "letter_mass")
    numbers = {**calibration(table), **rescaled(table, validation, temperature_split)}
    return {
        "chance": chance(table),
        "noise": noise.as_dict() if (noise := noise_of(table)) else None,
        "accuracy_macro": macro(table).as_dict(),
        "calibration": {name: e.as_dict() for name, e in numbers.items()},
        "temperature_split": temperature_split,
        "brier_terms": vars(decompose(conf, marks(table))),
        "ties": int(column(table, "tie").sum()),
        "nll_clipped": clipped(column(table, "p_gold")),
        "letter_mass": None if table.column("letter_mass").null_count == len(mass) else float(np.nanmean(mass)),
        "by_subject": by_group(table, baseline),
        "by_category": by_group(table, baseline, lambda subject: CATEGORY_OF.get(subject, "other subjects")),
        "reliability": reliability(conf, marks(table), clusters=clusters_of(table)),
    }


def accuracy(marks: np.ndarray, clusters: np.ndarray | None = None, alpha: float = ALPHA) -> Estimate:
    """Share of right items, or mean of what they earned where there are parts; missing where one earned nothing."""
    if np.isnan(marks).any():
        return missing(
            "the metric that decides says of an item neither right nor wrong, nor a part of right", len(marks)
        )
    if np.isin(marks, (0, 1)).all():
        return share(marks, clusters, alpha)
    return bootstrap_mean(marks, clusters=clusters, alpha=alpha)


def _mean_of(table: pa.Table, name: str) -> Estimate:
    """Mean of a column with its bootstrap interval; missing where no item has it."""
    values = np.array(table.column(name).to_pylist(), dtype=float)
    if np.isnan(values).any():
        return missing(f"the items carry nothing to compute {name} from", len(values))
    return bootstrap_mean(values, clusters=clusters_of(table))


def failed_task(role: str, error: str) -> dict[str, Any]:
    """The entry of a task that could not be measured: visible, and without a number."""
    return {"role": role, "status": "failed", "error": error, "n": 0, "accuracy": None, "retention": None}


def summarise_loss(table: pa.Table) -> dict[str, Any]:
    """Mean loss per trained token in nats, interval over resampled rows."""
    total, tokens = column(table, "nll"), column(table, "n_tokens")

    def drawn(counts: np.ndarray) -> dict[str, np.ndarray]:
        return {"loss": ratio(counts @ total, counts @ tokens)}

    value = {"loss": float(ratio(total.sum(), tokens.sum()))}
    loss = bootstrap(value, drawn, table.num_rows, clusters=clusters_of(table))["loss"]
    return {"loss": loss.as_dict(), "n": table.num_rows, "copies": told(table), "tokens": int(tokens.sum())}


def macro(table: pa.Table) -> Estimate:
    """Unweighted mean of the subjects' accuracies, with the subjects as they are and items drawn within them (normal).

    With S subjects and r_i = (x_i - mean of its subject) / (S n_s) sqrt(n_s / (n_s - 1)) the error is
    sqrt(sum (sum of r over the copies of an item)^2): of items without copies that of a stratified mean.
    """
    subjects, correct = column(table, "subject"), column(table, "correct").astype(float)
    _, of, sizes = np.unique(subjects, return_inverse=True, return_counts=True)
    means, n = np.bincount(of, weights=correct) / sizes, len(correct)
    value = float(means.mean())
    if sizes.min() < 2:
        return Estimate(value=value, n=n, reason="a subject with one item has no spread, so no interval")
    residuals = (correct - means[of]) / (len(sizes) * np.sqrt(sizes * (sizes - 1.0)))[of]
    clusters = clusters_of(table)
    summed = residuals if clusters is None else np.bincount(clusters, weights=residuals)
    half = Z * np.sqrt((summed**2).sum())
    return Estimate(
        value=value, low=float(value - half), high=float(value + half), n=n,
        method=once("stratified by subject, normal", clusters),
    )  # fmt: skip
