"""Log-probabilities of options: a question runs once, its options ride on it.

Several items lie in one row (`forward.Row`): nothing is copied, nothing padded, and the head meets the scored positions
only. Where a model cannot take the block mask this needs (FlashAttention, sliding windows, recurrent layers) each
option runs as a row of its own: the same numbers, more tokens. The layout is a function of the items alone, so it is
the same at every checkpoint.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from eval_hooks.encode import Encoded
from eval_hooks.forward import Progress, Scored, in_batches, no_progress

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
    return [_of(options) for options in in_batches(model, items, batch_tokens, progress)]


def score_batch(run: Callable[[Any, Sequence[Encoded]], Scored], model: Any, items: Sequence[Encoded]) -> list[Scores]:
    """Scores of a few items, laid out by `forward.together` or `one_by_one`; the caller sets the model's mode."""
    return [_of(options) for options in run(model, items)]


def _of(options: "Sequence[tuple[torch.Tensor, Sequence[int]]]") -> Scores:
    return _scores([_option_logp(logits, tokens) for logits, tokens in options])


def _option_logp(logits: "torch.Tensor", tokens: Sequence[int]) -> "torch.Tensor":  # (n, V), n tokens -> ()
    import torch

    logp = torch.log_softmax(logits.float(), dim=-1)
    return logp.gather(1, torch.tensor(list(tokens), device=logp.device)[:, None]).sum()


def _scores(options: Sequence["torch.Tensor"]) -> Scores:
    import torch

    logp = torch.stack(list(options))
    return Scores(logp=tuple(logp.tolist()), mass=float(logp.exp().sum()))
