"""Whether items lost and gained could be chance: McNemar's exact test, and evidence that may be looked at any time."""

import numpy as np
from scipy.special import betaincc, betaln
from scipy.stats import binom


def mcnemar(lost: np.ndarray, gained: np.ndarray) -> np.ndarray:
    """Two-sided exact p: min(1, 2 P(Bin(lost + gained, 1/2) <= min)); 1 where nothing flipped (McNemar 1947)."""
    return np.minimum(1.0, 2 * binom.cdf(np.minimum(lost, gained), lost + gained, 0.5))


def mcnemar_exact(lost: int, gained: int) -> float:
    """The same of one pair of counts."""
    return float(mcnemar(np.asarray(lost), np.asarray(gained)))


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
