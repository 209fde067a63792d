"""The metrics that evaluations log: which way is better, in what unit, and what guessing gives.

Nothing else says a direction. A task with `goal: down` (unlearning) turns those metrics that say how much of it is
answered rightly; calibration errors, costs and held-out losses stay as they are.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from eval_hooks.results.schemas import SHARE, Better, schema_of
from eval_hooks.table import chance, column

Chance = Literal["options", "log options"]
"""Of guessing evenly: mean of 1 / K over items of K options; mean of log K."""


@dataclass(frozen=True, kw_only=True)
class Metric:
    """What is to be known of a number before two of it are set beside each other."""

    better: Better | None
    """None: neither way (a temperature)."""
    unit: str = SHARE
    turns: bool = False
    """Whether `goal: down` turns it: it grows, or shrinks, with what is answered rightly."""
    chance: Chance | None = None

    def turned(self, goal: str) -> "Metric":
        """As a task with this goal wants it."""
        if goal == "up" or not self.turns or self.better is None:
            return self
        return replace(self, better="down" if self.better == "up" else "up")


_RIGHT = Metric(better="up", turns=True)
_WRONG = Metric(better="down", turns=True)
_ERROR = Metric(better="down")
_UNSAID = Metric(better=None)
RECALL = {
    "em_value": _RIGHT,
    "em_answer": _RIGHT,
    "probability_value": replace(_RIGHT, unit="probability"),
    "probability_answer": replace(_RIGHT, unit="probability"),
    "truth_ratio": replace(_WRONG, unit="ratio"),
    "rouge_l": _RIGHT,
}
TASK: Mapping[str, Metric] = {
    "accuracy": replace(_RIGHT, chance="options"),
    **RECALL,
    "hit_limit": _ERROR,
    "seconds": replace(_ERROR, unit="seconds"),
    "failed": _ERROR,
}
"""After `eval/<task>/`."""
ITEMS: Mapping[str, Metric] = {
    "p_gold": replace(_RIGHT, unit="probability", chance="options"),
    "nll": replace(_WRONG, unit="nats", chance="log options"),
    "logp_gold": replace(_RIGHT, unit="nats"),
    "bits_per_char": replace(_WRONG, unit="bits a character"),
}
"""Of single items, by which runs are set beside each other, beside those of `TASK` and `HELD_OUT`."""
CALIBRATION: Mapping[str, Metric] = {
    **dict.fromkeys(
        ("ece", "ece_equal_mass", "ece_debiased", "smooth_ece", "rms", "mce", "classwise_ece", "e_aurc"), _ERROR
    ),
    "ece_after_temperature": _ERROR,
    "brier": _WRONG,
    "brier_top_label": _ERROR,
    "aurc": _WRONG,
    "nll": replace(_WRONG, unit="nats"),
    "nll_after_temperature": replace(_WRONG, unit="nats"),
    "auroc": Metric(better="up"),
    "accuracy_at_50": _RIGHT,
    "accuracy_at_80": _RIGHT,
    "accuracy_at_90": _RIGHT,
    "coverage_at_risk_5": _RIGHT,
    "temperature": replace(_UNSAID, unit="ratio"),
}
"""After `eval/<task>/calibration/`."""
RETENTION: Mapping[str, Metric] = {
    **dict.fromkeys(("delta", "delta_low", "delta_high", "delta_run_low", "delta_run_high"), _RIGHT),
    "lost": replace(_WRONG, unit="items"),
    "gained": replace(_RIGHT, unit="items"),
    "e_value": replace(_UNSAID, unit="ratio"),
    "e_value_drop": replace(_WRONG, unit="ratio"),
    "log_e_value": replace(_UNSAID, unit="nats"),
    "log_e_value_drop": replace(_WRONG, unit="nats"),
    "churn": _ERROR,
    "forgetting": _WRONG,
    "backward_transfer": _RIGHT,
}
"""After `eval/<task>/retention/`."""
HELD_OUT: Mapping[str, Metric] = {
    "loss": Metric(better="down", unit="nats a token"),
    "accuracy": Metric(better="up"),
    "likelier": Metric(better="up"),
    "margin": Metric(better="up", unit="nats"),
    **dict.fromkeys(("chosen_logp", "chosen_change"), Metric(better="up", unit="nats")),
    **dict.fromkeys(("rejected_logp", "rejected_change"), Metric(better="down", unit="nats")),
    "kl": Metric(better="down", unit="nats an answer"),
    "length": replace(_UNSAID, unit="tokens"),
}
"""After `val/<name>/`."""
TABLES = {"calibration": CALIBRATION, "retention": RETENTION}


def metric_of(key: str, tasks: Mapping[str, Any] | None = None) -> Metric | None:
    """What a logged key means; None of one that is in no table. `tasks` are a summary's entries.

    A task's entry says its goal, the direction of its score, and (lm-eval) those of the metrics that it made itself.
    """
    if match := re.fullmatch(r"val/.+/(\w+)", key):
        return HELD_OUT.get(match[1])
    match = re.fullmatch(r"eval/(.+?)/(?:(calibration|retention)/)?([^/]+)", key)
    if match is None:
        return None
    entry: Mapping[str, Any] = (tasks or {}).get(match[1], {})
    found = _of_task(match[2], match[3], entry)
    return found.turned(entry.get("goal") or "up") if found else None


def _of_task(group: str | None, name: str, entry: Mapping[str, Any]) -> Metric | None:
    better: Better = "down" if entry.get("better") == "down" else "up"
    unit = str(entry.get("unit") or SHARE)
    if group == "retention" and name.startswith("delta") and better == "down":
        return Metric(better="down", unit=unit, turns=True)
    if group:
        return TABLES[group].get(name)
    if name == "score":
        return Metric(better=better, unit=unit, turns=True)
    own = (entry.get("directions") or {}).get(name.partition(",")[0])  # exact_match,strict-match
    if own in ("up", "down"):
        return Metric(better=own, unit="number", turns=True)
    return TASK.get(name)


def of_items(name: str, better: Better) -> Metric:
    """The metric of single items; `better` is that of the items' own score, of which `score` speaks."""
    if name == "score":
        return Metric(better=better, unit="number", turns=True)
    return next(group[name] for group in (ITEMS, TASK, HELD_OUT) if name in group)


def guessed(metric: Metric, table: pa.Table) -> float | None:
    """What guessing gives on a table's items; None where that is not known."""
    if metric.chance is None:
        return None
    if metric.chance == "options":
        return chance(table)
    return float(np.log(column(table, "n_options")).mean()) if schema_of(table).options else None


def unknown(keys: Sequence[str]) -> list[str]:
    """Of keys that evaluations log, those that no table knows."""
    return [key for key in keys if metric_of(key) is None]
