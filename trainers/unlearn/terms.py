"""What unlearning losses share: the negative log-likelihood of a side, and the term that holds the retain side."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from trainers.logprobs import Tokens, kl_from_reference, token_logps, token_mean
from trainers.method import Context, LossOutput
from trainers.models.companions import Start

if TYPE_CHECKING:
    from torch import Tensor

Retain = Literal["nll", "kl"]


@dataclass(frozen=True, kw_only=True)
class Weights:
    """Of the two terms."""

    gamma: float = 1.0
    """Weight of the forget term."""
    alpha: float = 1.0
    """Weight of the retain term; 0 leaves it out."""

    def __post_init__(self) -> None:
        """Refuse weights that train nothing or push the retain side away."""
        if self.gamma <= 0:
            raise ValueError(f"gamma must be above 0, got {self.gamma}")
        if self.alpha < 0:
            raise ValueError(f"alpha must be 0 or more, got {self.alpha}")


@dataclass(frozen=True, kw_only=True)
class RetainWeights(Weights):
    """The same, with a choice of the retain term."""

    retain: Retain = "nll"
    """nll: likelihood of the retain rows; kl: KL from the reference on them."""


def nll(ctx: Context, tokens: Tokens, side: str) -> "Tensor":
    """Mean negative log-likelihood of a side's labelled tokens: ()."""
    return token_mean(-token_logps(ctx.model, tokens), tokens.mask, ctx.totals.get(side))


def retain_term(ctx: Context, tokens: Tokens, kind: Retain) -> "Tensor":
    """`nll`: the rows' likelihood; `kl`: KL(reference || model) on their answers: ()."""
    if kind == "nll":
        return nll(ctx, tokens, "retain")
    return kl_from_reference(ctx.model, ctx.models["start"], tokens, ctx.totals.get("retain"))


def with_retain(ctx: Context, forget: "Tensor", tokens: Tokens | None, cfg: RetainWeights) -> LossOutput:
    """L = gamma L_forget + alpha L_retain, each logged."""
    if not cfg.alpha:
        return combined(forget, None, cfg)
    assert tokens is not None
    return combined(forget, retain_term(ctx, tokens, cfg.retain), cfg)


def combined(forget: "Tensor", retain: "Tensor | None", cfg: Weights) -> LossOutput:
    """The weighted sum of both terms, or the forget term alone."""
    if retain is None:
        return LossOutput(loss=cfg.gamma * forget, terms={"loss_forget": forget.detach()})
    terms = {"loss_forget": forget.detach(), "loss_retain": retain.detach()}
    return LossOutput(loss=cfg.gamma * forget + cfg.alpha * retain, terms=terms)


def sides(cfg: Weights) -> tuple[str, ...]:
    """The sides of the data that the weights ask for."""
    return ("forget", "retain") if cfg.alpha else ("forget",)


def models(cfg: RetainWeights) -> Mapping[str, Start]:
    """What the retain term compares with."""
    return {"start": Start()} if cfg.retain == "kl" and cfg.alpha else {}
