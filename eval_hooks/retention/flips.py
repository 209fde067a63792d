"""Whether items lost and gained could be chance: McNemar's exact test, and evidence that may be looked at any time."""

import sys
from math import exp, log

import numpy as np
from scipy.special import betaln, gammaln, logsumexp
from scipy.stats import binom


def mcnemar(lost: np.ndarray, gained: np.ndarray) -> np.ndarray:
    """Two-sided exact p: min(1, 2 P(Bin(lost + gained, 1/2) <= min)); 1 where nothing flipped (McNemar 1947)."""
    return np.minimum(1.0, 2 * binom.cdf(np.minimum(lost, gained), lost + gained, 0.5))


def mcnemar_exact(lost: int, gained: int) -> float:
    """The same of one pair of counts."""
    return float(mcnemar(np.asarray(lost), np.asarray(gained)))


def log_e_value(lost: int, gained: int) -> float:
    """Logarithm of E = B(lost + 1, gained + 1) * 2^(lost + gained): uniform mixture over the flip probability.

    E is valid at any time, reject at 1/alpha. 3,500 lost and 800 gained are E = e^910, more than a float64 holds.
    """
    return float(betaln(lost + 1, gained + 1)) + (lost + gained) * log(2.0)


def log_e_value_drop(lost: int, gained: int) -> float:
    """The same against a loss alone: the mixture is over flips that are losses with a probability in (1/2, 1).

    E = 2 B(lost + 1, gained + 1) 2^(lost + gained) P(Beta(lost + 1, gained + 1) > 1/2), the last of which is
    P(Bin(lost + gained + 1, 1/2) <= lost), summed in logarithms since it may be less than a float64 holds too.
    """
    n = lost + gained + 1
    k = np.arange(lost + 1)
    below = float(logsumexp(gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1))) - n * log(2.0)
    return log(2.0) + log_e_value(lost, gained) + min(0.0, below)


def e_value(lost: int, gained: int) -> float:
    """`log_e_value` as a number; the largest there is where it is larger, for less than an e-value is one too."""
    return _number(log_e_value(lost, gained))


def e_value_drop(lost: int, gained: int) -> float:
    """`log_e_value_drop` as a number, likewise."""
    return _number(log_e_value_drop(lost, gained))


def _number(logarithm: float) -> float:
    return exp(logarithm) if logarithm < log(sys.float_info.max) else sys.float_info.max
