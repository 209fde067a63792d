"""The loss of held-out rows, item by item: summed negative log-likelihood of the trained tokens, and their number."""

from collections.abc import Sequence
from typing import Any

from eval_hooks.forward import (
    Progress,
    Row,
    batches,
    block_attention,
    idle,
    most_places,
    no_progress,
    scoring_mode,
)
from eval_hooks.items import LossItem
from eval_hooks.ranks import Job, shared_out
from eval_hooks.scoring.head import calls, logps
from eval_hooks.scoring.packing import packs
from eval_hooks.scoring.pass_size import current


def token_losses(
    model: Any, items: Sequence[LossItem], batch_tokens: int | None = None, progress: Progress = no_progress
) -> list[tuple[float, int]]:
    """(sum of -log p over the labelled tokens, number of labelled tokens) per item, in nats, fp32.

    The model is left as it was.
    """
    sizes, batch_tokens = [len(item.input_ids) for item in items], batch_tokens or current().tokens
    with scoring_mode(model), block_attention(model):
        shared = _shared(model, items, batch_tokens)
        most = most_places(model)
        jobs = [
            Job(
                cost=sum(sizes[i] for i in batch),
                members=batch,
                calls=calls(sum(len(_predicting(items[i])) for i in batch), most),
            )
            for batch in batches(sizes, batch_tokens if shared else 1)
        ]

        def work(number: int) -> list[tuple[float, int]]:
            return _losses(model, [items[i] for i in jobs[number].members], most)

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


def _losses(model: Any, items: Sequence[LossItem], most: int) -> list[tuple[float, int]]:
    """Of the items of one row."""
    row = Row([item.input_ids for item in items])
    own = [_predicting(item) for item in items]
    places = [path[place] for path, mine in zip(row.paths, own, strict=True) for place in mine]
    if not places:
        return [(0.0, 0)] * len(items)
    targets = [item.labels[place + 1] for item, mine in zip(items, own, strict=True) for place in mine]
    parts = logps(model, places, targets, most, **row.inputs(model)).split(list(map(len, own)))
    return [(-float(part.sum()), len(part)) for part in parts]
