"""What one evaluation may claim, of what its run may spend."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, get_args

from eval_hooks.config import Budget, Role
from eval_hooks.retention.spending import ALONE, Look
from eval_hooks.waves import Looks


def may_claim(spending: Mapping[str, Any] | None, roles: Sequence[Role], confidence: float) -> dict[str, Look]:
    """Of a task, by role: the tasks of a role share what the evaluation may spend; None: nothing changed yet."""
    if spending is None:
        return {"target": ALONE, "retain": ALONE}
    of_role = Counter(roles)
    return {
        role: Look(alpha=spending["here"] / max(1, of_role[role]), level=confidence, looks=spending["looks"])
        for role in get_args(Role)
    }


def looks_of(budget: Budget, margin: float, look: Look) -> Looks:
    """When scoring in waves may end."""
    return Looks(allowed=margin if budget.accuracy_drop is None else budget.accuracy_drop, alpha=look.alpha)
