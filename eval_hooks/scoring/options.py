"""Log-probabilities of options: a question runs once, its options ride on it, and questions on what they begin with.

Several items lie in one row (`trees.together`): nothing is copied, nothing padded, and the head meets the scored
positions only. Where a model cannot take the block mask this needs (sliding windows, recurrent layers) each option runs
as a row of its own: the same numbers, more tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from eval_hooks.encode import Encoded
from eval_hooks.forward import Prefixes, Progress, no_progress
from eval_hooks.trees import Texts, each_tree

if TYPE_CHECKING:
    import torch

PIECE = 128
"""Places whose logits are made fp32 at a time."""


@dataclass(frozen=True, kw_only=True)
class Scores:
    """What a model says of one item's options."""

    logp: tuple[float, ...]
    """Log-probability per option, summed over its tokens, from fp32 logits."""
    mass: float
    """Sum of the options' probabilities; the letter mass where each option is a letter."""


def score(
    model: Any,
    items: Sequence[Encoded],
    batch_tokens: int | None = None,
    progress: Progress = no_progress,
    *,
    only: Sequence[int] | None = None,
    prefixes: Prefixes | None = None,
    intact: bool = False,
) -> list[Scores]:
    """Scores of all items, or `only` of some, in the items' order; `progress` hears of the number of items done.

    The model is left as it was. `prefixes` are those that were run before on the same weights; `intact` batches are
    those of all items.
    """
    return each_tree(model, items, scores_of, batch_tokens, progress, only=only, prefixes=prefixes, intact=intact)


def scores_of(options: Texts) -> Scores:
    """Of one item, from its options' logits."""
    import torch

    logp = torch.stack([sum_logp(logits, tokens) for logits, tokens in options])
    return Scores(logp=tuple(logp.tolist()), mass=float(logp.exp().sum()))


def sum_logp(logits: "torch.Tensor", tokens: Sequence[int]) -> "torch.Tensor":  # (n, V), n tokens -> ()
    """Log-probability of a text's scored tokens, fp32."""
    import torch

    targets = torch.tensor(list(tokens), device=logits.device)
    parts = zip(logits.split(PIECE), targets.split(PIECE), strict=True)
    return torch.cat([part.float().log_softmax(-1).gather(1, target[:, None]) for part, target in parts]).sum()
