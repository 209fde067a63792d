"""What the change was, though its size ended the looking: the first look over the orders that do not end it earlier.

The first look is taken whatever comes, so its estimate D_1 has no bias; it only throws away what was scored afterwards.
All orders of the items scored are as likely as the one that came. So the mean of D_1 over those orders in which no look
before the last decides has no bias either, and uses all items (Rao, Blackwell; in this setting Emerson, Fleming 1990,
Biometrika 77:875, who take normal scores, of which the few flips of a first look are none). Going backwards from look
to look, the lost and the gained of a stratum are hypergeometric; of the orders drawn at random, those that would have
ended are replaced by others at every look.
"""

from collections.abc import Sequence

import numpy as np

from eval_hooks.retention.strata import Change, smoothed_spread, variance_of_mean, weighted_mean

ORDERS = 1000
NEAREST = 10
"""Orders that are kept where none stays undecided: those nearest to it."""


def first_look(looks: Sequence[Change], bounds: np.ndarray, allowed: float) -> float:
    """The change, given that looks (k,) came to end at the newest; `bounds` (k - 1,) are the z of those before."""
    rng, last = np.random.default_rng(0), looks[-1]
    shape = (ORDERS, len(last.sizes))
    lost, gained, scored = np.broadcast_to(last.lost, shape), np.broadcast_to(last.gained, shape), last.scored
    value = np.full(ORDERS, last.value)
    for look, z in zip(reversed(looks[:-1]), bounds[::-1], strict=True):
        alone = scored - lost - gained
        lost = rng.hypergeometric(lost, scored - lost, look.scored)
        gained = rng.hypergeometric(gained, alone, look.scored - lost)
        scored = look.scored
        value = weighted_mean(lost, gained, scored, look.sizes)
        se = np.sqrt(variance_of_mean(smoothed_spread(lost, gained, scored), scored, look.sizes))
        beyond = np.abs(value + allowed) - z * se
        inside = np.flatnonzero(beyond < 0) if (beyond < 0).any() else np.argsort(beyond)[:NEAREST]
        kept = rng.choice(inside, ORDERS)
        lost, gained, value = lost[kept], gained[kept], value[kept]
    return float(value.mean())
