"""What one evaluation of a run may claim, so that all of them together are wrong no more often than one may be.

A run is looked at many times: at every evaluation, on every task. Each look gets a part of alpha, the chance of a wrong
word that the whole run is allowed. The parts add up to alpha at most, so by Boole's inequality some interval of the run
misses its change in alpha of runs at most, however its looks depend on each other (Bonferroni; spent in time as by Lan,
DeMets 1983, Biometrika 70:659, in parts that are fixed before the numbers are seen). A rule that asks for several looks
in a row can only be wrong less often.

Of alpha the last evaluation gets `final_share`, whose word the run is judged by; those before it share the rest. Of r
left and m of them to come each spends r / (m + 1), so that something is left for a look that nobody planned: a step
that is measured again after a roll-back, a run that is made longer. Where their number is not known, the k-th spends
r / (k + 1) of what is left, in all alpha (1 / 2 + 1 / 6 + ... + 1 / (k (k + 1)) + ...): a sequence without end. The
last one leaves a twentieth of its own, for a run that is made longer; where it is the only one it takes all there is.
"""

from collections.abc import Sequence
from dataclasses import dataclass

ALPHA = 0.05
"""Of a run, where nothing else is said."""
FINAL_SHARE = 0.8
KEPT_BACK = 0.05
"""Of the last evaluation's part, for a run that is made longer."""


@dataclass(frozen=True, kw_only=True)
class Look:
    """What one evaluation may claim of one task."""

    alpha: float = ALPHA
    """Chance that its two-sided interval misses the change; 0 where all is spent."""
    level: float = 1 - ALPHA
    """At which the intervals of all looks hold together."""
    looks: int | None = 1
    """Evaluations planned; None where nobody knows."""


ALONE = Look()
"""One evaluation of one task."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How a run spends its chance of a wrong word."""

    alpha: float = ALPHA
    between: int | None = 0
    """Evaluations between the start and the end; None where nobody knows."""
    final_share: float = FINAL_SHARE

    @property
    def looks(self) -> int | None:
        """All evaluations planned, the last one included."""
        return None if self.between is None else self.between + 1


@dataclass(frozen=True, kw_only=True)
class Spent:
    """What an evaluation has spent."""

    step: int
    alpha: float
    final: bool = False


def next_alpha(plan: Plan, spent: Sequence[Spent], final: bool) -> float:
    """What the next evaluation may spend, over all its tasks.

    By hand, alpha .05, 3 between: each .01 / 4 = .0025, the last .95 * .04 = .038; in all .0455.
    """
    alone = plan.between == 0
    pool = plan.alpha * (1.0 if alone else plan.final_share if final else 1 - plan.final_share)
    before = [one.alpha for one in spent if one.final == final]
    left = min(pool - sum(before), plan.alpha - sum(one.alpha for one in spent))
    if final:
        return max(0.0, left if alone else (1 - KEPT_BACK) * left)
    planned, done = plan.between, len(before)
    to_come = done + 1 if planned is None else max(1, planned - done)
    return max(0.0, left / (to_come + 1))


def planned_alphas(plan: Plan) -> tuple[float | None, float]:
    """What each evaluation between the ends may spend (None where there are none, or nobody knows) and the last one."""
    between = next_alpha(plan, (), final=False) if plan.between else None
    return between, next_alpha(plan, (), final=True)
