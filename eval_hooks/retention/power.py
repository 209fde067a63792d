"""How many paired items a difference asks for."""

from math import ceil, sqrt

from scipy.stats import norm

Z_POWER = float(norm.ppf(0.80))


def items_needed(difference: float, discordance: float, alpha: float = 0.05) -> int:
    """Items that show a paired difference d of two accuracies in 80 % of cases, tested two-sided at alpha.

    The difference is one that would matter (the margin), named before the items are looked at: asked of the difference
    they showed, the number says no more than McNemar's p does (Hoenig, Heisey 2001, The American Statistician 55:19).

    n = (z(1 - alpha / 2) sqrt(p) + z(80 %) sqrt(p - d^2))^2 / d^2, p the share right in one and wrong in the other
    (Connor 1987, Biometrics 43:207, for McNemar's test). p is at least |d|: every point of difference is a flip.
    """
    if difference == 0:
        raise ValueError("no number of items shows a difference of 0")
    p = max(discordance, abs(difference))
    return ceil(((float(norm.isf(alpha / 2)) * sqrt(p) + Z_POWER * sqrt(p - difference**2)) / difference) ** 2)
