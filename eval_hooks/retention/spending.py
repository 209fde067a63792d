"""What one evaluation of a run may claim, so that all of them together are wrong no more often than one may be.

A run is looked at many times: at every evaluation, on every task. Each look gets a part of alpha, the chance of a wrong
word that the whole run is allowed; the parts add up to alpha at most, so by Boole's inequality some interval of the run
misses its change in alpha of runs at most, however the looks depend on each other (Bonferroni; spent in time as by Lan,
DeMets 1983, Biometrika 70:659, in parts that are fixed before the numbers are seen).
"""

from dataclasses import dataclass

ALPHA = 0.05
"""Of a run, where nothing else is said."""


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
