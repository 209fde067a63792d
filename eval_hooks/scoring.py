"""Log-probabilities of options: a question runs once, its options ride on it.

Several items lie in one row (`forward.Row`): nothing is copied, nothing padded, and the head meets the scored positions
only. Where a model cannot take the block mask this needs (FlashAttention, sliding windows, recurrent layers) each
option runs as a row of its own: the same numbers, more tokens. The layout is a function of the items alone, so it is
the same at every checkpoint.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from eval_hooks.encode import Encoded
from eval_hooks.forward import Progress, Row, batches, kept_logits, no_progress, scoring_mode, takes_block_mask

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, kw_only=True)
class Scores:
    """What a model says of one item's options."""

    logp: tuple[float, ...]
    """Log-probability per option, summed over its tokens, from fp32 logits."""
    mass: float
    """Sum of the options' probabilities; the letter mass where each option is a letter."""


def score(
    model: Any, items: Sequence[Encoded], batch_tokens: int = 1024, progress: Progress = no_progress
) -> list[Scores]:
    """Scores of all items, in order; `progress` is called with the number of items done.

    The model is left as it was.
    """
    scores: list[Scores] = []
    score_batch = _score_shared if takes_block_mask(model) else _score_alone
    with scoring_mode(model):
        for batch in batches([item.tokens for item in items], batch_tokens):
            scores += score_batch(model, [items[i] for i in batch])
            progress(len(batch))
    return scores


def _score_shared(model: Any, items: Sequence[Encoded]) -> list[Scores]:
    row = Row()
    wanted = []  # per item, per option: (places that predict, tokens predicted)
    for item in items:
        fed = [branch[:-1] for branch in item.branches]  # the last token is predicted, never fed
        start, starts = row.add(item.shared, fed)
        last = start + len(item.shared) - 1
        places = [[last, *range(first, first + len(tokens))] for first, tokens in zip(starts, fed, strict=True)]
        wanted.append([(p[-n:], b[-n:]) for p, b, n in zip(places, item.branches, item.scored, strict=True)])
    keep = sorted({place for options in wanted for places, _ in options for place in places})
    logits = row.logits(model, keep)
    row_of = {place: row for row, place in enumerate(keep)}
    return [
        _sums(logits, [([row_of[place] for place in places], tokens) for places, tokens in options])
        for options in wanted
    ]


def _score_alone(model: Any, items: Sequence[Encoded]) -> list[Scores]:
    import torch

    scores = []
    for item in items:
        options = []
        for branch, n in zip(item.branches, item.scored, strict=True):
            ids = torch.tensor([[*item.shared, *branch[:-1]]], device=model.device)
            logits = kept_logits(model, list(range(ids.shape[1] - n, ids.shape[1])), input_ids=ids)[0]  # (n, V)
            options.append(_option_logp(logits, branch[-n:]))
        scores.append(_scores(options))
    return scores


def _sums(logits: "torch.Tensor", options: Sequence[tuple[Sequence[int], Sequence[int]]]) -> Scores:
    """From rows of kept logits and, per option, which rows predict which tokens."""
    return _scores([_option_logp(logits[list(rows)], tokens) for rows, tokens in options])


def _option_logp(logits: "torch.Tensor", tokens: Sequence[int]) -> "torch.Tensor":  # (n, V), n tokens -> ()
    import torch

    logp = torch.log_softmax(logits.float(), dim=-1)
    return logp.gather(1, torch.tensor(list(tokens), device=logp.device)[:, None]).sum()


def _scores(options: Sequence["torch.Tensor"]) -> Scores:
    import torch

    logp = torch.stack(list(options))
    return Scores(logp=tuple(logp.tolist()), mass=float(logp.exp().sum()))
