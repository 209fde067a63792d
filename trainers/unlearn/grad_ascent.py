"""Gradient ascent: away from the rows to forget, with nothing to hold the rest.

    L = - mean_t nll_t

Jang et al. 2022, arXiv:2210.01504, section 3.1. It is the baseline that must wreck utility: nothing bounds it.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainers.method import Context, LossOutput, Method, Source
from trainers.unlearn.pairing import ForgetBatch
from trainers.unlearn.terms import nll

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class GradAscent:
    """No hyperparameters."""


def loss(nll: "Tensor") -> "Tensor":  # () -> ()
    """Minus the mean negative log-likelihood; logits (2, 1, 0, -1), label 0: nll .440190, loss -.440190."""
    return -nll


def step(ctx: Context, batch: ForgetBatch, cfg: GradAscent) -> LossOutput:
    """One forward pass over the forget side."""
    value = loss(nll(ctx, batch.forget, "forget"))
    return LossOutput(loss=value, terms={"loss_forget": value.detach()})


METHOD = Method(
    stages=("unlearn",),
    config=GradAscent,
    batch=ForgetBatch,
    about="gradient ascent on the forget side; wrecks the rest",
    source=Source(arxiv="2210.01504", note="section 3.1"),
    step=step,
    sides=lambda cfg: ("forget",),
)
