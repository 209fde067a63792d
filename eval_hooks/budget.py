"""When a loss is proven: what `eval.budget` allows against what the intervals say."""

from collections.abc import Mapping
from typing import Any

from eval_hooks.config import Budget


def crossed(budget: Budget, summary: Mapping[str, Any]) -> list[str]:
    """One sentence for each limit that is proven to be broken; empty where none is.

    Accuracy: the whole interval of the paired change lies below -accuracy_drop. ECE: the lower bound of its rise lies
    above ece_rise.
    """
    reasons = []
    for name, task in summary["tasks"].items():
        retention = task.get("retention")
        if task.get("role") != "retain" or not retention:
            continue
        high = retention["delta"]["high"]
        if budget.accuracy_drop is not None and high is not None and high < -budget.accuracy_drop:
            reasons.append(f"{name}: accuracy fell by more than {budget.accuracy_drop:g} (change at most {high:+.4f})")
        rise = retention.get("ece_rise") or {}
        if budget.ece_rise is not None and rise.get("low") is not None and rise["low"] > budget.ece_rise:
            reasons.append(f"{name}: ECE rose by more than {budget.ece_rise:g} (at least {rise['low']:+.4f})")
    return reasons
