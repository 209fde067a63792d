"""Held-out pairs: margins against step 0 by hand, log-probabilities as torch has them."""

from typing import Any

import pyarrow as pa
import pytest
import torch

from eval_hooks.preference import PAIRS, PairItem, drawn_at_start, pairs_table, summarise_pairs
from tests.conftest import tiny_llama


def table(values: list[tuple[float, float]], start: float = -1.0) -> pa.Table:
    """Pairs of (chosen, rejected); the first one's prompt was answered freely, in 3 tokens."""
    rows = [{"task": "t", "item_id": str(i), "chosen_logp": c, "rejected_logp": r, "chosen_tokens": 2,
             "rejected_tokens": 4} for i, (c, r) in enumerate(values)]  # fmt: skip
    rows[0] |= {"start_answer": [5, 6], "start_logp": start, "written_tokens": 3}
    return pa.Table.from_pylist(rows, schema=PAIRS.columns)


def test_margins_by_hand() -> None:
    """Chosen -2 -> -1 and -2 -> -4, rejected -3 -> -5 and -3 -> -4: margins 3 and -1, one of two right."""
    found = summarise_pairs(table([(-1.0, -5.0), (-4.0, -4.0)]), table([(-2.0, -3.0), (-2.0, -3.0)]))
    assert found["accuracy"]["value"] == 0.5 and found["margin"]["value"] == pytest.approx(1.0)
    assert found["chosen_change"]["value"] == pytest.approx(-0.5)
    assert found["rejected_change"]["value"] == pytest.approx(-1.5)
    assert found["kl"]["value"] == 0.0 and found["length"]["value"] == 3.0
    assert found["likelier"]["value"] == 0.5  # per token: -0.5 above -1.25, -2 below -1


def test_the_divergence_is_what_step_0s_answers_lost() -> None:
    """Log-probability of the answer drawn at step 0: -1 then, -3.5 now: 2.5 nats; only prompts that were answered count."""
    found = summarise_pairs(table([(-1.0, -1.0)] * 3, start=-3.5), table([(-1.0, -1.0)] * 3))
    assert (found["kl"]["value"], found["kl"]["n"]) == (2.5, 1)


def test_without_step_0_a_margin_is_missing_and_says_why() -> None:
    found = summarise_pairs(table([(-1.0, -2.0)]), None)
    assert found["margin"]["value"] is None and "step 0" in found["margin"]["reason"]
    assert found["chosen_logp"]["value"] == -1.0


def test_the_log_probabilities_are_torchs(tokenizer: Any) -> None:
    """Both answers ride on one pass over the prompt; torch reads each whole."""
    model = tiny_llama(vocab_size=300)
    pairs = [PairItem(item_id=str(i), prompt=(5, 6 + i), chosen=(7, 8), rejected=(9,)) for i in range(3)]
    for pair, found in zip(pairs, pairs_table("t", model, tokenizer, pairs).to_pylist(), strict=True):
        for name, answer in (("chosen", pair.chosen), ("rejected", pair.rejected)):
            ids = torch.tensor([[*pair.prompt, *answer]])
            logp = model(ids).logits[0, :-1].log_softmax(-1).gather(1, ids[0, 1:, None])[1:].sum().item()
            assert found[f"{name}_logp"] == pytest.approx(logp, abs=1e-4)
        assert (found["chosen_tokens"], found["rejected_tokens"]) == (2, 1)


def test_the_same_model_has_moved_nowhere_and_another_one_has(tokenizer: Any) -> None:
    """Answers are drawn at step 0 and kept; the divergence is positive in expectation, 0 for the same model."""
    here, there = tiny_llama(vocab_size=300), tiny_llama(vocab_size=300, seed=1, initializer_range=0.5)
    items = [PairItem(item_id=str(i), prompt=(5 + i, 6), chosen=(7,), rejected=(8,)) for i in range(40)]
    before = pairs_table("t", here, tokenizer, items)
    starts = drawn_at_start(before)
    assert len({tuple(answer) for answer in starts}) > 1  # drawn, not greedy
    again = pairs_table("t", here, tokenizer, items, starts)
    moved = pairs_table("t", there, tokenizer, items, starts)
    assert again.column("start_answer") == before.column("start_answer") == moved.column("start_answer")
    assert summarise_pairs(again, before)["kl"]["value"] == pytest.approx(0, abs=1e-5)
    assert summarise_pairs(moved, before)["kl"]["low"] > 0.1
