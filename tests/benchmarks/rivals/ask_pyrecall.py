"""pyrecall: a skill is forgotten where its mean score drops by more than a threshold."""

from asked import Rule, Table, accuracies, answer
from pyrecall.detector import CategoryComparison, ForgettingDetector, ForgettingReport


def checked(table: Table, threshold: float) -> str:
    """`Forgetting detected`, or else `No significant forgetting detected`."""
    before, after = accuracies(table)
    skill = CategoryComparison(category="made", score_before=before, score_after=after, n_items=table[0])
    report = ForgettingReport("before", "after", threshold, comparisons=[skill])
    return "kept" if report.is_healthy else "loss"


RULES: dict[str, Rule] = {
    "as shipped": lambda table, margin: checked(table, ForgettingDetector().threshold),
    "threshold at the margin": lambda table, margin: checked(table, ForgettingDetector(threshold=margin).threshold),
}

if __name__ == "__main__":
    answer(RULES)
