"""Log-probabilities, masks and length normalisation: once, for every method.

All are fp32. The log-probabilities of given tokens come from trl's fused head, which works through the vocabulary in
tiles: no (batch x length x vocabulary) tensor exists. Where a whole distribution is compared, rows are taken in pieces.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from trainers.reference import Reference

ROWS_AT_ONCE = 128
"""Positions whose whole distributions are in fp32 at a time."""


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """Rows of tokens, padded on the right."""

    input_ids: "Tensor"  # (B, T)
    attention_mask: "Tensor"  # (B, T)
    labels: "Tensor"  # (B, T), -100 where a token is context or padding
    reference: "Tensor | None" = None  # (B, T - 1), cached log-probabilities of the labels under the reference

    @property
    def mask(self) -> "Tensor":
        """1.0 where the next token is labelled, (B, T - 1)."""
        return (self.labels[:, 1:] != -100).float()

    @property
    def lengths(self) -> "Tensor":
        """Labelled tokens of each row, (B,)."""
        return self.mask.sum(-1)


def ready(model: Any) -> None:
    """Give a causal model trl's fused head, once; call it before the model is wrapped by anything but peft."""
    from trl.trainer.utils import add_fused_lm_head

    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    if not getattr(base, "has_fused_head", False):
        add_fused_lm_head(base)
        base.has_fused_head = True


def token_logps(model: Any, tokens: Tokens) -> "Tensor":
    """Log-probability of each labelled token given those before it, 0 elsewhere: (B, T - 1)."""
    return model(
        input_ids=tokens.input_ids,
        attention_mask=tokens.attention_mask,
        labels=tokens.labels,
        use_cache=False,
        fused_lm_head=True,
    ).log_probs


def reference_logps(reference: "Reference | None", tokens: Tokens) -> "Tensor":
    """The same under the reference, without gradients: taken from the cache where the rows carry it."""
    if tokens.reference is not None:
        return tokens.reference
    assert reference is not None
    with reference as model:
        return token_logps(model, tokens)


def sequence_logps(logps: "Tensor") -> "Tensor":
    """Log-probability of each row's labelled tokens together: (B, T - 1) -> (B,)."""
    return logps.sum(-1)


def mean_logps(logps: "Tensor", tokens: Tokens) -> "Tensor":
    """The same per labelled token: (B, T - 1) -> (B,)."""
    return logps.sum(-1) / tokens.lengths.clamp(min=1)


def token_mean(values: "Tensor", mask: "Tensor", total: "Tensor | None" = None) -> "Tensor":
    """Mean of values (B, T - 1) where mask is 1: (). `total` is the number of such places in the whole step."""
    return (values * mask).sum() / (mask.sum().clamp(min=1) if total is None else total)


def row_mean(values: "Tensor", total: "Tensor | None" = None) -> "Tensor":
    """Mean of values (B,): (). `total` is the number of rows in the whole step."""
    return values.sum() / (len(values) if total is None else total)


def kl_from_reference(model: Any, reference: "Reference", tokens: Tokens, total: "Tensor | None" = None) -> "Tensor":
    """KL(reference || model) of the next token, mean over the labelled places: ().

    Prompt and padding rows do not count (the public code averages over them too).
    """
    inputs = {"input_ids": tokens.input_ids, "attention_mask": tokens.attention_mask}
    where = tokens.labels[:, 1:] != -100
    return _kl_sum_over(model, reference, inputs, where) / (where.sum().clamp(min=1) if total is None else total)


def kl_over(model: Any, reference: "Reference", inputs: Mapping[str, "Tensor"]) -> "Tensor":
    """KL(reference || model) of the next token, mean over all texts' places: ().

    `inputs` are input_ids (B, T), and attention_mask, or position_ids that begin anew with each text of a row.
    """
    import torch

    where = torch.ones_like(inputs["input_ids"][:, 1:], dtype=torch.bool)
    if "attention_mask" in inputs:
        where &= inputs["attention_mask"][:, 1:] == 1
    if "position_ids" in inputs:
        where &= inputs["position_ids"][:, 1:] != 0
    return _kl_sum_over(model, reference, inputs, where) / where.sum().clamp(min=1)


def _kl_sum_over(model: Any, reference: "Reference", inputs: Mapping[str, "Tensor"], where: "Tensor") -> "Tensor":
    from torch.utils.checkpoint import checkpoint

    with reference as start:
        before = start(**inputs, use_cache=False).logits[:, :-1][where]  # (N, V)
    now = model(**inputs, use_cache=False).logits[:, :-1][where]
    pieces = zip(before.split(ROWS_AT_ONCE), now.split(ROWS_AT_ONCE), strict=True)
    return sum(checkpoint(kl_sum, p, q, use_reentrant=False) for p, q in pieces)


def kl_sum(p_logits: "Tensor", q_logits: "Tensor") -> "Tensor":  # (N, V), (N, V) -> ()
    """Sum over rows of KL(p || q), from logits."""
    p, q = p_logits.float().log_softmax(-1), q_logits.float().log_softmax(-1)
    return (p.exp() * (p - q)).sum()
