"""What unlearning losses share: the negative log-likelihood of a side, and the term that holds the retain side."""

from typing import TYPE_CHECKING, Literal

from trainers.logprobs import Tokens, kl_from_reference, token_logps, token_mean
from trainers.method import Context, LossOutput

if TYPE_CHECKING:
    from torch import Tensor

Retain = Literal["nll", "kl"]


def nll(ctx: Context, tokens: Tokens, side: str) -> "Tensor":
    """Mean negative log-likelihood of a side's labelled tokens: ()."""
    return token_mean(-token_logps(ctx.model, tokens), tokens.mask, ctx.totals.get(side))


def retain_term(ctx: Context, tokens: Tokens, kind: Retain) -> "Tensor":
    """`nll`: the rows' likelihood; `kl`: KL(reference || model) on their answers: ()."""
    if kind == "nll":
        return nll(ctx, tokens, "retain")
    assert ctx.reference is not None
    return kl_from_reference(ctx.model, ctx.reference, tokens, ctx.totals.get("retain"))


def with_retain(
    ctx: Context, forget: "Tensor", tokens: Tokens | None, *, gamma: float, alpha: float, kind: Retain
) -> LossOutput:
    """L = gamma L_forget + alpha L_retain, each logged."""
    if not alpha:
        return LossOutput(loss=gamma * forget, metrics={"loss_forget": forget.detach()})
    assert tokens is not None
    retain = retain_term(ctx, tokens, kind)
    metrics = {"loss_forget": forget.detach(), "loss_retain": retain.detach()}
    return LossOutput(loss=gamma * forget + alpha * retain, metrics=metrics)


def check_weights(gamma: float, alpha: float) -> None:
    """Raise ValueError for weights that train nothing or push the retain side away."""
    if gamma <= 0:
        raise ValueError(f"gamma must be above 0, got {gamma}")
    if alpha < 0:
        raise ValueError(f"alpha must be 0 or more, got {alpha}")


def sides(alpha: float) -> tuple[str, ...]:
    """The sides of the data that a weight asks for."""
    return ("forget", "retain") if alpha else ("forget",)
