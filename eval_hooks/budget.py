"""When a loss is proven, and what follows: what `eval.budget` allows against what the intervals say."""

from collections.abc import Mapping
from typing import Any

from eval_hooks.config import Action, Budget
from eval_hooks.retention.spending import Plan

ALONE: tuple[Action, ...] = ("report", "stop", "lr")
"""Actions that need nobody but the callback."""
ONCE: tuple[Action, ...] = ("replay", "kl")
"""Actions that stay on once they are taken."""


def crossed(budget: Budget, summary: Mapping[str, Any]) -> list[str]:
    """One sentence for each limit that is proven to be broken; empty where none is.

    The bounds are those of the run (`delta_run`, `ece_rise_run`, `accuracy_run`), which hold at all its looks together.
    Accuracy: the whole interval of the paired change lies below -accuracy_drop. ECE: the lower bound of its rise in
    two bins (`calibration.rise`) lies above ece_rise. Target: the upper bound of its accuracy lies below target_floor.
    """
    reasons = []
    for name, task in summary["tasks"].items():
        if task.get("status") == "failed":
            continue
        if task.get("role") == "target":
            high = _bound(task, "accuracy", "high") if task.get("goal", "up") == "up" else None
            if budget.target_floor is not None and high is not None and high < budget.target_floor and summary["step"]:
                reasons.append(f"{name}: accuracy is under {budget.target_floor:g} (at most {high:.4f})")
            continue
        retention = task.get("retention") or {}
        if retention.get("unit"):  # a score of which no share is lost
            continue
        high = _bound(retention, "delta", "high")
        if budget.accuracy_drop is not None and high is not None and high < -budget.accuracy_drop:
            reasons.append(f"{name}: accuracy fell by more than {budget.accuracy_drop:g} (change at most {high:+.4f})")
        low = _bound(retention, "ece_rise", "low")
        if budget.ece_rise is not None and low is not None and low > budget.ece_rise:
            reasons.append(f"{name}: ECE in two bins rose by more than {budget.ece_rise:g} (at least {low:+.4f})")
    return reasons


def _bound(entry: Mapping[str, Any], name: str, end: str) -> float | None:
    """One end of the run's interval; of an entry that has none, of the one look's."""
    found = entry.get(f"{name}_run") or entry.get(name) or {}
    return found.get(end)


def plan_of(budget: Budget, between: int | None, runs: int) -> Plan:
    """How a run spends its chance of a wrong word, being one of the runs of a pipeline.

    Loss of accuracy, rise of ECE and a target's floor are each proven one-sidedly, with half of alpha: two limits may
    be wrong in alpha of runs, three with two thirds of it.
    """
    limits = sum(limit is not None for limit in (budget.accuracy_drop, budget.ece_rise, budget.target_floor))
    alpha = (1 - budget.confidence) * min(1.0, 2 / max(1, limits)) / runs
    return Plan(alpha=alpha, between=between, final_share=budget.final_share)


def judged(budget: Budget, reasons: list[str], before: Mapping[str, Any], taken: int, more: bool) -> dict[str, Any]:
    """What a summary says of its budget, and the action that is due, if any.

    `before` is the same of the evaluation before, `taken` how often the action was taken, `more` whether training goes
    on after this.
    """
    row = before.get("in_a_row", 0) + 1 if reasons else 0
    action = budget.action if reasons and row >= budget.patience else None
    if action in ONCE and taken or action in (*ONCE, "lr") and not more:
        action = "report"
    if action == "lr" and taken >= budget.most:
        action = "report"
    if action == "roll_back" and taken >= budget.most:
        action = "stop"
    return {"crossed": reasons, "in_a_row": 0 if action not in (None, "report", "stop") else row, "action": action}
