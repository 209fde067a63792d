"""paired-eval: its permutation test of paired scores, and the exact McNemar test that its report puts beside it."""

import paired_eval
from asked import Rule, Table, answer, items

ALPHA = 0.05
"""Its default."""
RESAMPLES = 1000
"""It draws 10,000: over a minute for 14,042 items. The test is exact with any number."""


def compared(table: Table, margin: float) -> str:
    """`significant`, to the side of the mean difference; of `null` only how much it rules out takes simulations."""
    before, after = items(table)
    found = paired_eval.paired_compare(after, before, n_resamples=RESAMPLES)
    significant = paired_eval.interpret(found, sims=1)["verdict"] == "significant"
    return ("loss" if found["mean_diff"] < 0 else "gain") if significant else ""


def mcnemar(table: Table, margin: float) -> str:
    """The p-value of the items that flip."""
    _, lost, gained = table
    return ("loss" if lost > gained else "gain") if paired_eval.mcnemar_exact(lost, gained) < ALPHA else ""


RULES: dict[str, Rule] = {"paired_compare": compared, "mcnemar_exact": mcnemar}

if __name__ == "__main__":
    answer(RULES)
