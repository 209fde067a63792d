"""Held-out pairs: margins against step 0 by hand, log-probabilities as torch has them."""

import pyarrow as pa
import pytest
import torch

from eval_hooks.items import LossItem
from eval_hooks.preference import PAIRS, PairItem, pairs_table, summarise_pairs
from tests.conftest import tiny_llama


def table(values: list[tuple[float, float]]) -> pa.Table:
    return pa.Table.from_pylist(
        [{"task": "t", "item_id": str(i), "chosen_logp": c, "rejected_logp": r, "chosen_tokens": 2,
          "rejected_tokens": 4} for i, (c, r) in enumerate(values)], schema=PAIRS)  # fmt: skip


def test_margins_by_hand() -> None:
    """Chosen -2 -> -1 and -2 -> -4, rejected -3 -> -5 and -3 -> -4: margins 3 and -1, one of two right."""
    found = summarise_pairs(table([(-1.0, -5.0), (-4.0, -4.0)]), table([(-2.0, -3.0), (-2.0, -3.0)]))
    assert found["accuracy"]["value"] == 0.5 and found["margin"]["value"] == pytest.approx(1.0)
    assert found["chosen_change"]["value"] == pytest.approx(-0.5)
    assert found["rejected_change"]["value"] == pytest.approx(-1.5)
    assert found["likelier"]["value"] == 0.5  # per token: -0.5 above -1.25, -2 below -1


def test_without_step_0_a_margin_is_missing_and_says_why() -> None:
    found = summarise_pairs(table([(-1.0, -2.0)]), None)
    assert found["margin"]["value"] is None and "step 0" in found["margin"]["reason"]
    assert found["chosen_logp"]["value"] == -1.0


def test_the_log_probabilities_are_torchs() -> None:
    model = tiny_llama(vocab_size=300)
    sides = [
        LossItem(item_id="a", input_ids=(5, 6, *answer), labels=(-100, -100, *answer)) for answer in ((7, 8), (9,))
    ]
    found = pairs_table("t", model, [PairItem(item_id="a", chosen=sides[0], rejected=sides[1])]).to_pylist()[0]
    for name, item in zip(("chosen", "rejected"), sides, strict=True):
        ids = torch.tensor([item.input_ids])
        logp = model(ids).logits[0, :-1].log_softmax(-1).gather(1, ids[0, 1:, None])[1:].sum().item()
        assert found[f"{name}_logp"] == pytest.approx(logp, abs=1e-4)
    assert (found["chosen_tokens"], found["rejected_tokens"]) == (2, 1)
