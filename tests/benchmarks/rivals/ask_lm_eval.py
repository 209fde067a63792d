"""lm-evaluation-harness: two accuracies apart, each with its standard error, as its scripts/model_comparator.py has it.

The script is not in the package, so its z is written here: the difference over the root of the squared standard errors,
p two-sided against .05, ticked where p is above. The standard errors are the package's.
"""

from functools import cache
from statistics import NormalDist

from asked import Rule, Table, accuracies, answer
from lm_eval.api.metrics import mean_stderr

ALPHA = 0.05


@cache
def error(right: int, n: int) -> float:
    """Standard error of an accuracy."""
    return mean_stderr([1] * right + [0] * (n - right))


def compared(table: Table, margin: float) -> str:
    """Its tick reads as: the same."""
    n, before, after = table[0], *accuracies(table)
    z = (after - before) / (error(round(before * n), n) ** 2 + error(round(after * n), n) ** 2) ** 0.5
    if 2 * NormalDist().cdf(-abs(z)) > ALPHA:
        return "kept"
    return "loss" if z < 0 else "gain"


RULES: dict[str, Rule] = {"model_comparator": compared}

if __name__ == "__main__":
    answer(RULES)
