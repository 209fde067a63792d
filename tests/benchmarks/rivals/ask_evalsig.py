"""evalsig: `compare`, its release gate, and its confidence sequence."""

from functools import lru_cache

import numpy as np
from asked import Rule, Table, answer, items
from evalsig import ItemResult, RunFrame, confidence_sequence, gate
from evalsig.inference.mcnemar import mcnemar_test

ALPHA = 0.05
"""Its default."""


def compared(table: Table, margin: float) -> str:
    """The test that `compare` chooses for items right or wrong, two-sided, without its frames: 29 ms of 14,042 items."""
    found = mcnemar_test(*map(np.array, items(table)))
    return sided(found.p_value < ALPHA, found.delta)


def sided(significant: bool, delta: float) -> str:
    """The word of a two-sided test."""
    return ("loss" if delta < 0 else "gain") if significant else ""


@lru_cache(maxsize=4)
def results(n: int, score: float) -> list[ItemResult]:
    """Of n items with the same score."""
    return [ItemResult(f"{i:06}", score) for i in range(n)]


def frame(scores: list[float]) -> RunFrame:
    """A run with these scores."""
    wrong, right = results(len(scores), 0.0), results(len(scores), 1.0)
    return RunFrame("made", "made", "made", "accuracy", [(right if s else wrong)[i] for i, s in enumerate(scores)])


def gated(table: Table, margin: float) -> str:
    """`REJECT`, `ALLOW`, or nothing where it is `INCONCLUSIVE`: allowed is what gains the margin at least."""
    found = gate(*map(frame, items(table)), min_delta=margin)
    return {"REJECT": "loss", "ALLOW": "kept", "INCONCLUSIVE": ""}[found.verdict.value]


def sequence(table: Table, margin: float) -> str:
    """Whether the sequence has stopped, said to hold however often one looks."""
    before, after = map(np.array, items(table))
    found = confidence_sequence(after - before)
    return sided(found.stopped, found.delta)


RULES: dict[str, Rule] = {"compare": compared, "gate": gated, "confidence sequence": sequence}

if __name__ == "__main__":
    answer(RULES)
