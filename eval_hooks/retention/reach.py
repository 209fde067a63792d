"""Which words a run can say at all, with its items, evaluations and tasks: told before it costs anything.

`kept` needs an interval that lies above -margin, and the interval's width comes from the items that flip, also where as
many are gained as lost. So what is told is the largest share of items that may flip: no guess of how many will is
needed. Beside it stands what would have to be different for the share that a light tuning flips.
"""

from dataclasses import dataclass

from eval_hooks.retention.interval import change_interval
from eval_hooks.retention.spending import ALPHA, Plan, planned_alphas

LIGHT = 0.05
"""Share of items that a light tuning flips, lost and gained together (measured on SmolLM2-135M over MMLU: .047)."""
MOST = 10**7
"""Items beyond which no benchmark goes."""


@dataclass(frozen=True, kw_only=True)
class Reach:
    """The largest share of a task's items that may flip, without a net change, so that `kept` can be said."""

    n: int
    margin: float
    alone: float | None
    """By one evaluation of one task; None where not even an unchanged model is called kept."""
    final: float | None
    """By the run's last evaluation."""
    between: float | None
    """By one of those before it; None too where there are none, or nobody knows how many."""
    looks: int | None
    tasks: int
    items: int
    """Items with which the last evaluation says `kept` although 5 % flip."""
    wide_enough: float
    """Margin with which it does so of these n items."""


def reach(n: int, margin: float, plan: Plan, tasks: int) -> Reach:
    """What a run can say of one of its tasks to retain, of n items."""
    between, final = (None if alpha is None else alpha / tasks for alpha in planned_alphas(plan))
    assert final is not None
    return Reach(
        n=n,
        margin=margin,
        alone=most_flips(n, margin, ALPHA),
        final=most_flips(n, margin, final),
        between=None if between is None else most_flips(n, margin, between),
        looks=plan.looks,
        tasks=tasks,
        items=items_for_kept(margin, final),
        wide_enough=margin_for_kept(n, final),
    )


def most_flips(n: int, margin: float, alpha: float) -> float | None:
    """The largest share of n items, half lost, half gained, at which the interval at 1 - alpha lies above -margin."""
    if not _kept(0, n, margin, alpha):
        return None
    below, above = 0, n // 2 + 1  # items lost: `kept` at the first, not at the second
    while above - below > 1:
        middle = (below + above) // 2
        below, above = (middle, above) if _kept(middle, n, margin, alpha) else (below, middle)
    return 2 * below / n


def items_for_kept(margin: float, alpha: float, flips: float = LIGHT) -> int:
    """The fewest items of which `kept` is said where this share flips, half each way; MOST where no number does."""
    below, above = 1, MOST
    while above - below > 1:
        middle = (below + above) // 2
        below, above = (below, middle) if _kept(middle * flips / 2, middle, margin, alpha) else (middle, above)
    return above


def margin_for_kept(n: int, alpha: float, flips: float = LIGHT) -> float:
    """The margin from which on `kept` is said of n items of which this share flips, half each way."""
    return -float(change_interval(n * flips / 2, n * flips / 2, n, 1 - alpha)[0])


def _kept(each_way: float, n: int, margin: float, alpha: float) -> bool:
    return float(change_interval(each_way, each_way, n, 1 - alpha)[0]) > -margin
