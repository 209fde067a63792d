"""Gradient difference: ascent on the forget side, descent on the retain side.

    L = - gamma mean_t nll_t(forget) + alpha L_retain

Liu et al. 2022, arXiv:2203.12817; defaults of card 00 (open-unlearning).
"""

from dataclasses import dataclass

from trainers.method import Context, LossOutput, Method, Source
from trainers.unlearn.grad_ascent import loss
from trainers.unlearn.pairing import ForgetBatch
from trainers.unlearn.terms import Retain, check_weights, nll, sides, with_retain


@dataclass(frozen=True, kw_only=True)
class GradDiff:
    """Weights of the two sides."""

    gamma: float = 1.0
    """Weight of the forget term."""
    alpha: float = 1.0
    """Weight of the retain term; 0 gives grad_ascent."""
    retain: Retain = "nll"
    """nll: likelihood of the retain rows; kl: KL from the reference on them."""

    def __post_init__(self) -> None:
        """Refuse weights that make no sense."""
        check_weights(self.gamma, self.alpha)


def step(ctx: Context, batch: ForgetBatch, cfg: GradDiff) -> LossOutput:
    """One forward pass over either side; with kl two more over the retain side."""
    forget = loss(nll(ctx, batch.forget, "forget"))
    return with_retain(ctx, forget, batch.retain, gamma=cfg.gamma, alpha=cfg.alpha, kind=cfg.retain)


METHOD = Method(
    stage="unlearn",
    config=GradDiff,
    batch=ForgetBatch,
    about="ascent on the forget side, descent on the retain side",
    source=Source(arxiv="2203.12817", note="as in open-unlearning"),
    step=step,
    reference=lambda cfg: "model" if cfg.retain == "kl" and cfg.alpha else "none",
    sides=lambda cfg: sides(cfg.alpha),
)
