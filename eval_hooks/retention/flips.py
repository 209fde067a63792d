"""Whether items lost and gained could be chance: McNemar's exact test, and evidence that may be looked at any time."""

import numpy as np
from scipy.special import betaincc, betaln
from scipy.stats import binom

from eval_hooks.estimate import Estimate
from eval_hooks.intervals import Z


def mcnemar_exact(lost: int, gained: int) -> float:
    """Two-sided exact p: min(1, 2 P(Bin(lost + gained, 1/2) <= min)); 1 where nothing flipped (McNemar 1947)."""
    return float(min(1.0, 2 * binom.cdf(min(lost, gained), lost + gained, 0.5)))


def e_value(lost: int, gained: int) -> float:
    """E = B(lost + 1, gained + 1) * 2^(lost + gained): uniform mixture over the flip probability.

    Valid at any time, reject at 1/alpha.
    """
    return float(np.exp(betaln(lost + 1, gained + 1) + (lost + gained) * np.log(2.0)))


def e_value_drop(lost: int, gained: int) -> float:
    """The same against a loss alone: the mixture is over flips that are losses with a probability in (1/2, 1).

    E = 2 B(lost + 1, gained + 1) 2^(lost + gained) P(Beta(lost + 1, gained + 1) > 1/2).
    """
    return float(2 * e_value(lost, gained) * betaincc(lost + 1, gained + 1, 0.5))


def paired_change(lost: int, gained: int, n: int) -> Estimate:
    """(gained - lost) / n with the adjusted Wald interval: one more item lost, one more gained (Bonett, Price 2012).

    For groups of few items, of which none may have flipped.
    """
    loss, gain = (lost + 1) / (n + 2), (gained + 1) / (n + 2)
    centre, half = gain - loss, Z * np.sqrt((gain + loss - (gain - loss) ** 2) / (n + 2))
    return Estimate(
        value=(gained - lost) / n,
        low=float(max(-1.0, centre - half)),
        high=float(min(1.0, centre + half)),
        n=n,
        method="paired, adjusted Wald",
    )
