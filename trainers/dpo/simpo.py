"""SimPO: reference-free preference loss on mean log-probabilities, with a margin.

    L = - log sigmoid( beta (log p(chosen) / |chosen| - log p(rejected) / |rejected|) - gamma )

Meng, Xia, Chen 2024, arXiv:2405.14734, equation 6. The authors' code takes the ratio gamma / beta; here it is gamma
itself, as the paper writes it. Worked by hand: mean log-probabilities -0.5 and -1.0, beta 2, gamma 0.5: the argument is
2 * 0.5 - 0.5 = 0.5, the loss -log sigmoid(0.5) = 0.474077; equal answers give -log sigmoid(-0.5) = 0.974077.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainers.dpo.batch import PairBatch
from trainers.logprobs import mean_logps, row_mean, sequence_logps, token_logps
from trainers.method import Context, LossOutput, Method, Source

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class SimPO:
    """Hyperparameters; the defaults are the paper's for its base models (table 7)."""

    beta: float = 2.0
    """Scale of the margin."""
    gamma: float = 1.6
    """By how much the chosen answer must win; 0 gives plain length-normalised preference."""

    def __post_init__(self) -> None:
        """Refuse a scale that turns learning round or off."""
        if self.beta <= 0:
            raise ValueError(f"beta must be above 0, got {self.beta}")


def losses(chosen: "Tensor", rejected: "Tensor", cfg: SimPO) -> "Tensor":  # (B,), (B,) mean log-probs -> (B,)
    """Per pair."""
    from torch.nn.functional import logsigmoid

    return -logsigmoid(cfg.beta * (chosen - rejected) - cfg.gamma)


def step(ctx: Context, batch: PairBatch, cfg: SimPO) -> LossOutput:
    """One forward pass over both answers."""
    logps = token_logps(ctx.model, batch.tokens)
    chosen, rejected = mean_logps(logps, batch.tokens).chunk(2)
    sums = sequence_logps(logps).detach().chunk(2)
    metrics = {
        "rewards/chosen": cfg.beta * chosen.detach().mean(),
        "rewards/rejected": cfg.beta * rejected.detach().mean(),
        "rewards/margins": cfg.beta * (chosen - rejected).detach().mean(),
        "rewards/accuracies": (chosen > rejected).float().mean(),
        "logps/chosen": sums[0].mean(),
        "logps/rejected": sums[1].mean(),
    }
    return LossOutput(loss=row_mean(losses(chosen, rejected, cfg), ctx.totals.get("rows")), metrics=metrics)


METHOD = Method(
    stages=("dpo",),
    config=SimPO,
    batch=PairBatch,
    about="reference-free, on mean log-probabilities, with a margin",
    source=Source(arxiv="2405.14734", note="equation 6"),
    step=step,
)
