"""NPO: preference optimisation with a rejected answer only, so that ascent fades out once an answer is unlikely.

    L = gamma * -(2 / beta) mean log sigmoid( beta (S - S_ref) ) + alpha L_retain,    S = sum_t nll_t

Zhang et al. 2024, arXiv:2404.05868, equation 3; defaults of open-unlearning. Worked by hand, beta 0.1: S = S_ref gives
(2 / 0.1) ln 2 = 13.862944; S = 2 against S_ref = 1 gives 12.887933.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainers.logprobs import reference_logps, row_mean, sequence_logps, token_logps
from trainers.method import Context, LossOutput, Method, Source
from trainers.models.companions import Start
from trainers.unlearn.pairing import ForgetBatch
from trainers.unlearn.terms import RetainWeights, models, sides, with_retain

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class NPO(RetainWeights):
    """Hyperparameters, the public benchmark's."""

    beta: float = 0.1
    """How soon ascent fades out; towards 0 it is gradient ascent."""

    def __post_init__(self) -> None:
        """Refuse a scale that turns learning round or off."""
        super().__post_init__()
        if self.beta <= 0:
            raise ValueError(f"beta must be above 0, got {self.beta}")


def losses(nll: "Tensor", reference_nll: "Tensor", beta: float) -> "Tensor":  # (B,), (B,) -> (B,)
    """Per row, from the answers' summed negative log-likelihoods."""
    from torch.nn.functional import logsigmoid

    return -(2 / beta) * logsigmoid(beta * (nll - reference_nll))


def step(ctx: Context, batch: ForgetBatch, cfg: NPO) -> LossOutput:
    """Policy and reference on the forget side, then the retain term."""
    now = sequence_logps(token_logps(ctx.model, batch.forget))
    start = sequence_logps(reference_logps(ctx.models.get("start"), batch.forget))
    forget = row_mean(losses(-now, -start, cfg.beta), ctx.totals.get("rows"))
    return with_retain(ctx, forget, batch.retain, cfg)


METHOD = Method(
    stages=("unlearn",),
    config=NPO,
    batch=ForgetBatch,
    about="negative preference: ascent that fades out as an answer becomes unlikely",
    source=Source(arxiv="2404.05868", note="equation 3"),
    step=step,
    models=lambda cfg: models(cfg) or {"start": Start(logps=True)},
    sides=sides,
)
