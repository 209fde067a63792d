"""Instruction modelling: the loss over instructions too, never over the template's own tokens.

    L = - sum_t w_t log p(x_t | x_<t) / sum_t w_t,   w_t = 1 in an answer, prompt_loss_weight in an instruction, 0 in
    the template

Shi et al. 2024, arXiv:2405.14394, section 3. The paper has w = 1 (IM) and w = 0 (instruction tuning); the weights
between are ours. It helps where instructions are long against the outputs, or rows are few; it is no general
replacement (their section 4).
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from data_mix.render import WORDS
from data_mix.spans import Part
from trainers.batches import RowBatch
from trainers.method import Context, LossOutput, Method, Source

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class InstructionModelling:
    """Hyperparameters; the default is the paper's."""

    prompt_loss_weight: float = 1.0
    """Weight of an instruction token against an answer token: 1 is instruction modelling, 0 instruction tuning."""

    def __post_init__(self) -> None:
        """Refuse a weight outside [0, 1]."""
        if not 0.0 <= self.prompt_loss_weight <= 1.0:
            raise ValueError(f"prompt_loss_weight must be between 0 and 1, got {self.prompt_loss_weight}")


def loss(logp: "Tensor", weights: "Tensor", tokens: "Tensor | float") -> "Tensor":
    """Weighted mean negative log-likelihood: logp (B, T), weights (B, T), sum of all weights of the step -> ()."""
    return -(logp * weights).sum() / tokens


def weigh(batch: RowBatch, cfg: InstructionModelling) -> "Tensor":
    """Weight of each token (B, T) as it is predicted."""
    parts = batch["parts"]
    weights = (parts == Part.COMPLETION).float() + cfg.prompt_loss_weight * (parts == Part.INSTRUCTION).float()
    return weights * (batch["labels"] != -100)


def step(ctx: Context, batch: RowBatch, cfg: InstructionModelling) -> LossOutput:
    """One forward pass; the losses of instructions and of answers are logged apart."""
    weights = weigh(batch, cfg)[:, 1:]
    parts = batch["parts"][:, 1:]
    out = ctx.model(
        **{key: value for key, value in batch.items() if key != "parts"}, use_cache=False, fused_lm_head=True
    )
    logp = out.log_probs  # (B, T - 1), 0 where the label is -100
    tokens = ctx.totals.get("tokens", weights.sum().clamp(min=1e-8))
    seen = {"loss_instruction": parts == Part.INSTRUCTION, "loss_answer": parts == Part.COMPLETION}
    labelled = batch["labels"][:, 1:] != -100
    metrics = {
        name: -(logp.detach() * (mask & labelled)).sum() / (mask & labelled).sum().clamp(min=1)
        for name, mask in seen.items()
    }
    return LossOutput(loss=loss(logp, weights, tokens), metrics=metrics)


METHOD = Method(
    stages=("sft",),
    config=InstructionModelling,
    batch=RowBatch,
    about="loss over instructions and answers, weighted; template tokens never",
    source=Source(arxiv="2405.14394", note="section 3"),
    step=step,
    weigh=weigh,
    trains=WORDS,
    needs_parts=True,
)
