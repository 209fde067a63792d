"""Log-probabilities: torch's own cross entropy, whatever the padding; KL from hand-worked numbers."""

import math
from typing import Any

import pytest
import torch

from tests.conftest import tiny_llama
from trainers.logprobs import (
    Tokens,
    kl_from_reference,
    kl_sum,
    mean_logps,
    ready,
    row_mean,
    sequence_logps,
    token_logps,
    token_mean,
)  # fmt: skip
from trainers.reference import Reference
from trainers.unlearn.pairing import padded

ROWS = [
    {"input_ids": [5, 6, 7, 8, 9], "labels": [-100, -100, 7, 8, 9]},
    {"input_ids": [4, 3, 2], "labels": [-100, 3, 2]},
    {"input_ids": [9, 9, 9, 9], "labels": [-100, -100, -100, 9]},
]


@pytest.fixture
def model() -> Any:
    made = tiny_llama(vocab_size=300)
    ready(made)
    return made


def tokens(rows: list[dict[str, Any]]) -> Tokens:
    return Tokens(**padded(rows, 0))


def alone(model: Any, row: dict[str, Any]) -> list[float]:
    """-cross entropy of each labelled token, the row by itself."""
    logits = model(torch.tensor([row["input_ids"]])).logits[0, :-1]
    labels = torch.tensor(row["labels"][1:])
    return (-torch.nn.functional.cross_entropy(logits, labels, reduction="none"))[labels != -100].tolist()


def test_token_log_probabilities_are_torchs(model: Any) -> None:
    found = token_logps(model, tokens(ROWS))
    assert found.dtype == torch.float32 and found.shape == (3, 4)
    for row, logps, mask in zip(ROWS, found, tokens(ROWS).mask, strict=True):
        assert logps[mask.bool()].tolist() == pytest.approx(alone(model, row), abs=1e-5)
        assert not logps[~mask.bool()].any()


def test_sums_and_means_follow_labels_not_padding(model: Any) -> None:
    batch = tokens(ROWS)
    logps = token_logps(model, batch)
    sums = [sum(alone(model, row)) for row in ROWS]
    assert sequence_logps(logps).tolist() == pytest.approx(sums, abs=1e-5)
    assert batch.lengths.tolist() == [3, 2, 1]
    assert mean_logps(logps, batch).tolist() == pytest.approx([sums[0] / 3, sums[1] / 2, sums[2]], abs=1e-5)
    assert token_mean(logps, batch.mask).item() == pytest.approx(sum(sums) / 6, abs=1e-5)
    assert token_mean(logps, batch.mask, torch.tensor(12)).item() == pytest.approx(sum(sums) / 12, abs=1e-5)
    assert row_mean(torch.tensor([1.0, 3.0])).item() == 2
    assert row_mean(torch.tensor([1.0, 3.0]), torch.tensor(8)).item() == 0.5


def test_kl_by_hand() -> None:
    """P = (1/2, 1/2), q = (1/4, 3/4): 1/2 ln 2 + 1/2 ln(2/3) = 0.143841; twice that over two rows; 0 where equal."""
    p, q = torch.tensor([[0.0, 0.0]] * 2), torch.tensor([[0.0, math.log(3)]] * 2)
    assert kl_sum(p, q).item() == pytest.approx(2 * 0.1438410, abs=1e-6)
    assert kl_sum(q, q).item() == 0


def test_kl_counts_labelled_places_only_and_has_a_gradient(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces of two rows at a time give what one piece gives; padding rows change nothing; equal models give 0."""
    other = tiny_llama(vocab_size=300, seed=1)
    reference = Reference(lambda: other)
    whole = kl_from_reference(model, reference, tokens(ROWS))
    monkeypatch.setattr("trainers.logprobs.ROWS_AT_ONCE", 2)
    assert kl_from_reference(model, reference, tokens(ROWS)).item() == pytest.approx(whole.item(), rel=1e-5)
    per_row = [kl_from_reference(model, reference, tokens([row])).item() for row in ROWS]
    assert whole.item() == pytest.approx((3 * per_row[0] + 2 * per_row[1] + per_row[2]) / 6, rel=1e-4)
    assert kl_from_reference(model, Reference(lambda: model), tokens(ROWS)).item() == pytest.approx(0, abs=1e-6)
    whole.backward()
    assert model.model.embed_tokens.weight.grad.abs().sum() > 0 and other.model.embed_tokens.weight.grad is None
