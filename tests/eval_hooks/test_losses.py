"""Held-out loss per row: packed equals one by one equals torch's cross entropy."""

import pytest
import torch
from transformers import LlamaForCausalLM

from eval_hooks.items import LossItem
from eval_hooks.losses import token_losses

ITEMS = [
    LossItem(item_id="0", input_ids=(5, 6, 7, 8, 9), labels=(-100, -100, 7, 8, -100)),
    LossItem(item_id="1", input_ids=(10, 11, 12), labels=(10, 11, 12)),
    LossItem(item_id="2", input_ids=(13, 14), labels=(-100, -100)),
]


def test_packed_losses_equal_cross_entropy_row_by_row(tiny: LlamaForCausalLM) -> None:
    """Labels at position 0 have nothing before them and do not count: 2, 2 and 0 tokens."""
    results = token_losses(tiny, ITEMS, batch_tokens=100)
    assert [n for _, n in results] == [2, 2, 0]
    for item, (nll, _) in zip(ITEMS, results, strict=True):
        with torch.no_grad():
            logits = tiny(torch.tensor([item.input_ids]), use_cache=False).logits[0, :-1].float()
        expected = torch.nn.functional.cross_entropy(
            logits, torch.tensor(item.labels[1:]), ignore_index=-100, reduction="sum"
        )
        assert nll == pytest.approx(expected.item(), abs=1e-4)
    assert token_losses(tiny, ITEMS, batch_tokens=1)[1][0] == pytest.approx(results[1][0], abs=1e-4)
