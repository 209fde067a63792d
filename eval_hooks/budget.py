"""When a loss is proven, and what follows: what `eval.budget` allows against what the intervals say."""

from collections.abc import Mapping
from typing import Any

from eval_hooks.config import Action, Budget
from eval_hooks.intervals import Z

ALONE: tuple[Action, ...] = ("report", "stop", "lr")
"""Actions that need nobody but the callback."""
ONCE: tuple[Action, ...] = ("replay", "kl")
"""Actions that stay on once they are taken."""


def crossed(budget: Budget, summary: Mapping[str, Any]) -> list[str]:
    """One sentence for each limit that is proven to be broken; empty where none is.

    Accuracy: the whole interval of the paired change lies below -accuracy_drop. ECE: the lower bound of its rise in
    two bins (`calibration.rise`) lies above ece_rise. Target: the upper bound of its accuracy lies below target_floor.
    """
    reasons = []
    for name, task in summary["tasks"].items():
        if task.get("status") == "failed":
            continue
        if task.get("role") == "target":
            high = bound(task.get("accuracy"), "high", budget.confidence) if task.get("goal", "up") == "up" else None
            if budget.target_floor is not None and high is not None and high < budget.target_floor and summary["step"]:
                reasons.append(f"{name}: accuracy is under {budget.target_floor:g} (at most {high:.4f})")
            continue
        retention = task.get("retention") or {}
        high = bound(retention.get("delta"), "high", budget.confidence)
        if budget.accuracy_drop is not None and high is not None and high < -budget.accuracy_drop:
            reasons.append(f"{name}: accuracy fell by more than {budget.accuracy_drop:g} (change at most {high:+.4f})")
        low = bound(retention.get("ece_rise"), "low", budget.confidence)
        if budget.ece_rise is not None and low is not None and low > budget.ece_rise:
            reasons.append(f"{name}: ECE in two bins rose by more than {budget.ece_rise:g} (at least {low:+.4f})")
    return reasons


def bound(estimate: Mapping[str, Any] | None, end: str, confidence: float) -> float | None:
    """One end of an interval at another level than 95 %: its half-width in proportion of the normal quantiles."""
    if not estimate or estimate["value"] is None or estimate[end] is None:
        return None
    from scipy.stats import norm

    scale = float(norm.ppf((1 + confidence) / 2)) / Z
    return float(estimate["value"] + scale * (estimate[end] - estimate["value"]))


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


def slow(optimizer: Any, scheduler: Any, factor: float) -> None:
    """Multiply the learning rate, now and for the rest of the schedule; both are saved in checkpoints."""
    inner = getattr(scheduler, "scheduler", scheduler)
    if hasattr(inner, "base_lrs"):
        inner.base_lrs = [rate * factor for rate in inner.base_lrs]
        inner._last_lr = [rate * factor for rate in inner.get_last_lr()]  # what Trainer logs of the next step
    for group in optimizer.param_groups:
        for key in ("lr", "initial_lr"):
            if key in group:
                group[key] *= factor
