"""Calibration at a temperature: fitted on validation items, reported on the task's own."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from eval_hooks.calibration.brier import brier
from eval_hooks.calibration.ece import ece, width_bins
from eval_hooks.calibration.nll import nll
from eval_hooks.calibration.numbers import BIASED_UP, noted
from eval_hooks.calibration.resampled import spread
from eval_hooks.calibration.temperature import LEAST, MOST, fit_temperature, scaled, temperatures
from eval_hooks.copies import clusters_of
from eval_hooks.estimate import Estimate, missing
from eval_hooks.intervals import bootstrap
from eval_hooks.table import column, scores

AFTER = ("ece", "nll", "brier")
"""Numbers that are reported at the temperature, as NAME_after_temperature."""


def rescaled(table: pa.Table, validation: pa.Table | None, split: str | None) -> dict[str, Estimate]:
    """The temperature and the table's numbers at it, each with its interval; missing where no split was named.

    The temperature's interval resamples the validation items, that of a number after it the task's items, at the
    temperature as fitted. Raises EvalError for validation items that are none.
    """
    if validation is None:
        none = missing("not asked for: no temperature_split is named", table.num_rows)
        return {"temperature": none, **{f"{name}_after_temperature": none for name in AFTER}}
    fitted = temperature(validation, split or "validation")
    assert fitted.value is not None
    p, gold = scaled(scores(table), fitted.value), column(table, "gold")
    conf, correct = p.max(axis=1), column(table, "correct").astype(float)
    n, gaps = len(conf), spread(width_bins(conf), correct - conf)
    means = {"nll": nll(p[np.arange(n), gold]), "brier": brier(p, gold)}

    def drawn(counts: np.ndarray) -> dict[str, np.ndarray]:
        return {
            "ece": np.abs(counts @ gaps).sum(1) / n,
            **{name: counts @ each / n for name, each in means.items()},
        }

    values = {"ece": ece(conf, correct), **{name: float(each.mean()) for name, each in means.items()}}
    found = bootstrap(values, drawn, n, clusters=clusters_of(table))
    at = f"at the temperature fitted on {fitted.n} {split} items"
    after = {name: noted(estimate, at) for name, estimate in found.items()}
    after["ece"] = noted(after["ece"], BIASED_UP)
    return {"temperature": fitted, **{f"{name}_after_temperature": after[name] for name in AFTER}}


def temperature(validation: pa.Table, split: str) -> Estimate:
    """The temperature of a validation table, with its interval; the reason says so where it is at its bound."""
    logits, gold = scores(validation), column(validation, "gold")
    fitted = fit_temperature(logits, gold, split)
    found = bootstrap(
        {"temperature": fitted.value}, temperatures(logits, gold), fitted.n, clusters=clusters_of(validation)
    )["temperature"]
    bound = f"at its bound ({LEAST:g} to {MOST:g}): all items right, or confidence says nothing"
    return replace(found, reason=bound if fitted.at_bound else None)


def calibration_file(tasks: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """What calibration.json holds of a summary's tasks: those that a temperature was fitted for."""
    out = {}
    for name, task in tasks.items():
        numbers = task.get("calibration") or {}
        fitted = numbers.get("temperature")
        if fitted and fitted["value"] is not None:
            out[name] = {
                "temperature": fitted["value"],
                **{key: fitted[key] for key in ("low", "high", "n", "reason")},
                "split": task["temperature_split"],
                **{f"{key}_before": numbers[key]["value"] for key in AFTER},
                **{f"{key}_after": numbers[f"{key}_after_temperature"]["value"] for key in AFTER},
            }
    return out
