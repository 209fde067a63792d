"""Gradient difference: ascent on the forget side, descent on the retain side.

    L = - gamma mean_t nll_t(forget) + alpha L_retain

Liu et al. 2022, arXiv:2203.12817; defaults of open-unlearning.
"""

from dataclasses import dataclass

from trainers.method import Context, LossOutput, Method, Source
from trainers.unlearn.grad_ascent import loss
from trainers.unlearn.pairing import ForgetBatch
from trainers.unlearn.terms import RetainWeights, models, nll, sides, with_retain


@dataclass(frozen=True, kw_only=True)
class GradDiff(RetainWeights):
    """Weights of the two sides; alpha 0 gives grad_ascent."""


def step(ctx: Context, batch: ForgetBatch, cfg: GradDiff) -> LossOutput:
    """One forward pass over either side; with kl two more over the retain side."""
    forget = loss(nll(ctx, batch.forget, "forget"))
    return with_retain(ctx, forget, batch.retain, cfg)


METHOD = Method(
    stages=("unlearn",),
    config=GradDiff,
    batch=ForgetBatch,
    about="ascent on the forget side, descent on the retain side",
    source=Source(arxiv="2203.12817", note="as in open-unlearning"),
    step=step,
    models=models,
    sides=sides,
)
