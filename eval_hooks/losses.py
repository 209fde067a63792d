"""The loss of held-out rows, item by item: summed negative log-likelihood of the trained tokens, and their number."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from eval_hooks.config import BATCH_TOKENS
from eval_hooks.forward import (
    Progress,
    Row,
    batches,
    block_attention,
    idle,
    kept_logits,
    no_progress,
    scoring_mode,
)
from eval_hooks.items import LossItem
from eval_hooks.ranks import Job, shared_out
from eval_hooks.scoring.packing import packs

if TYPE_CHECKING:
    import torch


def token_losses(
    model: Any, items: Sequence[LossItem], batch_tokens: int = BATCH_TOKENS, progress: Progress = no_progress
) -> list[tuple[float, int]]:
    """(sum of -log p over the labelled tokens, number of labelled tokens) per item, in nats, fp32.

    The model is left as it was.
    """
    sizes = [len(item.input_ids) for item in items]
    with scoring_mode(model), block_attention(model):
        shared = _shared(model, items, batch_tokens)
        jobs = [
            Job(cost=sum(sizes[i] for i in batch), members=batch, calls=int(any(_predicting(items[i]) for i in batch)))
            for batch in batches(sizes, batch_tokens if shared else 1)
        ]

        def work(number: int) -> list[tuple[float, int]]:
            chosen = [items[i] for i in jobs[number].members]
            return _packed(model, chosen) if shared else [_alone(model, chosen[0])]

        return shared_out(jobs, work, lambda: idle(model), progress)


def _shared(model: Any, items: Sequence[LossItem], batch_tokens: int) -> bool:
    """Whether rows share a pass; only those do that leave room for another one."""
    short = [item.input_ids for item in items if len(item.input_ids) < batch_tokens]
    if len(short) < 2:
        return False
    longest = max(short, key=len)
    return packs(model, len(longest), batch_tokens, longest)


def _predicting(item: LossItem) -> list[int]:
    """Places whose next token is labelled."""
    return [place - 1 for place, label in enumerate(item.labels) if label != -100 and place > 0]


def _packed(model: Any, items: Sequence[LossItem]) -> list[tuple[float, int]]:
    row = Row([item.input_ids for item in items])
    places = [[path[place] for place in _predicting(item)] for path, item in zip(row.paths, items, strict=True)]
    if not any(places):
        return [(0.0, 0)] * len(items)
    return [_nll(logits, item) for logits, item in zip(row.logits(model, places), items, strict=True)]


def _alone(model: Any, item: LossItem) -> tuple[float, int]:
    import torch

    places = _predicting(item)
    if not places:
        return 0.0, 0
    return _nll(kept_logits(model, places, input_ids=torch.tensor([item.input_ids], device=model.device))[0], item)


def _nll(logits: "torch.Tensor", item: LossItem) -> tuple[float, int]:  # (labelled tokens, V)
    import torch

    labels = [label for place, label in enumerate(item.labels) if label != -100 and place > 0]
    target = torch.tensor(labels, device=logits.device, dtype=torch.long)
    return float(torch.nn.functional.cross_entropy(logits.float(), target, reduction="sum")), len(labels)
