"""SimNPO: NPO without a reference, on the length-normalised likelihood.

    L = gamma * -(2 / beta) mean log sigmoid( beta (S / |y| - delta) ) + alpha L_retain,    S = sum_t nll_t

Fan et al. 2024, arXiv:2410.07163, equation 4; `delta` is the paper's gamma / beta; defaults of open-unlearning.
Worked by hand: S = 2, |y| = 4, beta 4.5, delta 0: -(2 / 4.5) log sigmoid(2.25) = 0.044536.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainers.logprobs import mean_logps, row_mean, token_logps
from trainers.method import Context, LossOutput, Method, Source
from trainers.unlearn.npo import losses
from trainers.unlearn.pairing import ForgetBatch
from trainers.unlearn.terms import RetainWeights, models, sides, with_retain

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class SimNPO(RetainWeights):
    """Hyperparameters, the public benchmark's."""

    beta: float = 4.5
    """How soon ascent fades out."""
    delta: float = 0.0
    """Mean nll an answer must reach before it counts as forgotten."""
    gamma: float = 0.125
    """Weight of the forget term."""

    def __post_init__(self) -> None:
        """Refuse a scale that turns learning round or off."""
        super().__post_init__()
        if self.beta <= 0:
            raise ValueError(f"beta must be above 0, got {self.beta}")


def loss(mean_nll: "Tensor", cfg: SimNPO, rows: "Tensor | None" = None) -> "Tensor":  # (B,) -> ()
    """NPO's with delta in the reference's place."""
    return row_mean(losses(mean_nll, mean_nll.new_full((), cfg.delta), cfg.beta), rows)


def step(ctx: Context, batch: ForgetBatch, cfg: SimNPO) -> LossOutput:
    """One forward pass over the forget side, then the retain term."""
    forget = loss(-mean_logps(token_logps(ctx.model, batch.forget), batch.forget), cfg, ctx.totals.get("rows"))
    return with_retain(ctx, forget, batch.retain, cfg)


METHOD = Method(
    stages=("unlearn",),
    config=SimNPO,
    batch=ForgetBatch,
    about="NPO per token and without a reference",
    source=Source(arxiv="2410.07163", note="equation 4"),
    step=step,
    models=models,
    sides=sides,
)
