"""soup-cli: the gate of its suites (`soup eval gate`) and `soup eval against`.

The gate's own scorer is replaced by the table's accuracy: it reads 10,000 items at most. What it decides stays its own.
"""

from asked import Rule, Table, accuracies, answer, items
from soup_cli.eval import gate
from soup_cli.utils.eval_gate_hook import GateThresholds, decide_regression

SUITE = gate.EvalSuite(suite="made", tasks=[gate.GateTask(type="custom", name="made", threshold=0.0, tasks="made")])


def gated(table: Table, **threshold: float) -> str:
    """`regression`, or else `passed`; a drop of 5 points is allowed where no threshold is given."""
    before, after = accuracies(table)
    gate._run_custom_task = lambda task, generate: after
    found = gate.run_gate(SUITE, generate_fn=str, baseline={"made": before}, **threshold)
    return "loss" if found.regression else "kept"


def against(table: Table, margin: float) -> str:
    """`REGRESSED` or `OK`: its tolerance is 2 points of accuracy, and is the margin here."""
    before, after = items(table)
    found = decide_regression("task_accuracy", before, after, GateThresholds(task_accuracy=-margin))
    return "loss" if found.regressed else "kept"


RULES: dict[str, Rule] = {
    "gate, as shipped": lambda table, margin: gated(table),
    "gate at the margin": lambda table, margin: gated(table, regression_threshold=margin),
    "eval against": against,
}

if __name__ == "__main__":
    answer(RULES)
