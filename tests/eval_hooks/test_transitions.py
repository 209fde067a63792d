"""Forgetting and backward transfer beyond guessing, and answers otherwise wrong: numbers by hand, and what has none."""

import numpy as np
import pyarrow as pa
import pytest

from eval_hooks.intervals import wilson
from eval_hooks.retention import retention
from eval_hooks.retention.transitions import adjusted_share, transitions
from eval_hooks.table import choice_table
from tests.benchmarks.made_tables import Guessing
from tests.eval_hooks.tables import answers, choices, right_or_wrong


def asked(preds: list[int], options: int = 4) -> pa.Table:
    """Items whose right option is the first, answered with these."""
    rows = [[0.0 if option == pred else -2.0 for option in range(options)] for pred in preds]
    return choices(rows, [0] * len(preds))


def table_of(right: int, wrong: int, lost: int, gained: int, options: int = 4) -> tuple[pa.Table, pa.Table]:
    kinds = [(0, 0)] * right + [(1, 1)] * wrong + [(0, 1)] * lost + [(1, 0)] * gained
    return asked([a for a, _ in kinds], options), asked([b for _, b in kinds], options)


def test_forgetting_and_backward_transfer_by_hand() -> None:
    """60 of 100 right before, 54 after, 12 lost, 6 gained: c = .40 * .46 / 3 = .061333; .12 - c, and 0 for .06 - c."""
    found = transitions(*table_of(right=48, wrong=34, lost=12, gained=6))
    assert found["forgetting"].value == pytest.approx(0.12 - 0.40 * 0.46 / 3)
    assert found["backward_transfer"].value == found["backward_transfer"].low == 0.0
    assert found["forgetting"].low == 0.0 and found["forgetting"].high == pytest.approx(0.1400, abs=1e-4)
    uncut = [adjusted_share(*pair, 34, 100, 4) for pair in ((12, 6), (6, 12))]
    assert float(uncut[0].value - uncut[1].value) == pytest.approx(0.06)  # the change of accuracy


def test_what_guessing_gives_is_what_is_taken_off() -> None:
    """600,000 items known (60 %, then 50 %, apart) or guessed: what is left of those lost were known, and are not."""
    law = Guessing(n=600_000, options=4, known_before=0.6, known_after=0.5)
    lost, gained, both, _ = law.drawn(1, seed=0)[0]
    found = adjusted_share(lost, gained, both, law.n, 4)
    assert law.forgotten == pytest.approx(0.6 * 0.5 * 0.75)
    assert float(found.low) < law.forgotten < float(found.high) and float(found.high - found.low) < 0.004


def test_items_of_each_number_of_options_are_adjusted_by_themselves() -> None:
    """Half with 2, half with 4 options: the mean of both halves' numbers, their half-widths in quadrature."""
    halves = {2: (60, 20, 15, 5), 4: (50, 30, 18, 2)}
    tables = {k: table_of(*counts, options=k) for k, counts in halves.items()}
    both = [pa.concat_tables([tables[2][side], tables[4][side]]) for side in (0, 1)]
    found = transitions(*both)["forgetting"]
    parts = [adjusted_share(lost, gained, wrong, 100, k) for k, (_, wrong, lost, gained) in halves.items()]
    assert found.value == pytest.approx(np.mean([float(part.value) for part in parts]))
    above = np.hypot(*(float(part.high - part.value) for part in parts)) / 2
    assert found.high == pytest.approx(found.value + above)


def test_answers_that_moved_from_one_wrong_one_to_another_are_counted() -> None:
    """Of 5: right twice; wrong alike; wrong otherwise twice; lost, which is no churn. Texts are compared as they are."""
    found = transitions(asked([0, 1, 1, 2, 0]), asked([0, 1, 2, 3, 1]))["churn"]
    assert found.value == pytest.approx(0.4) and (found.low, found.high) == pytest.approx(wilson(2, 5))
    written = transitions(answers(["a", "b", "g"], ["g"] * 3), answers(["a", "c", "x"], ["g"] * 3))
    assert written["churn"].value == pytest.approx(1 / 3)
    assert written["forgetting"].value is None and written["forgetting"].reason == "no options to guess among"


def test_what_cannot_be_had_is_missing_with_its_reason() -> None:
    below = asked([1] * 100)
    assert "below guessing" in str(transitions(below, below)["forgetting"].reason)
    row = asked([0]).select(
        ["task", "item_id", "subject", "variant", "shots", "gold", "chars", "letter_mass", "prompt_tokens"]
    )
    one = choice_table([{**row.to_pylist()[0], "chars": [1], "logp": [0.0]}])
    assert "one option" in str(transitions(one, one)["forgetting"].reason)
    entry = retention(right_or_wrong([1, 1, 0]), right_or_wrong([1, 0, 0]), 0.02, 0.5)
    assert {"churn", "forgetting", "backward_transfer"} <= entry.keys() and entry["churn"]["value"] == 0.0
