"""evalstats: its interval of a paired change of items right or wrong, by default Bonett and Price's, or else Tango's."""

import numpy as np
from asked import Rule, Table, answer, items
from evalstats import pairwise_differences


def bounds(table: Table, method: str) -> tuple[float, float]:
    """(low, high) of after - before at 95 %."""
    before, after = items(table)
    found = pairwise_differences(np.array([after, before]), 0, 1, method=method)
    return found.ci_low, found.ci_high


def word(table: Table, method: str) -> str:
    """The side of 0 on which the interval lies."""
    low, high = bounds(table, method)
    return "loss" if high < 0 else "gain" if low > 0 else ""


RULES: dict[str, Rule] = {
    "as shipped": lambda table, margin: word(table, "bonett_price"),
    "Tango": lambda table, margin: word(table, "tango"),
    "bounds of Tango": lambda table, margin: bounds(table, "tango"),
}

if __name__ == "__main__":
    answer(RULES)
