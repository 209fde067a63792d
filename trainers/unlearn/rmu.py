"""RMU: hidden states of the forget side are pushed to a fixed random direction, those of the retain side held.

    L = gamma mean_t |h_t - c u|^2 / d + alpha mean_t |h_t - h_t^ref|^2 / d,    h the output of one layer

Li et al. 2024, arXiv:2403.03218, section 4; u uniform in [0, 1)^d, normalised, drawn once; open-unlearning's defaults.
Only answer tokens count. Layers before and after the chosen one are trained as the recipe's adapter says: the authors'
choice of matrices is `adapter: {target_modules: [down_proj], layers_to_transform: [5, 6, 7]}`. Worked by hand:
h = (1, 0), u = (0, 1), c = 2: (1 + 4) / 2 = 2.5.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trainers import TrainError
from trainers.logprobs import Tokens, token_mean
from trainers.method import Context, LossOutput, Method, Source
from trainers.models.companions import Start
from trainers.unlearn.pairing import ForgetBatch
from trainers.unlearn.terms import Weights, combined, sides

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class RMU(Weights):
    """Hyperparameters, the public benchmark's; the authors' run on Zephyr-7B has c 6.5, alpha 1,200, layer 7."""

    layer: int = 7
    """Which layer's output is steered, from 0."""
    steering_coeff: float = 2.0
    """Length c of the direction; the authors' runs have 6.5 for Zephyr-7B and 300 for Mixtral-8x7B."""
    seed: int = 0
    """Of the random direction."""

    def __post_init__(self) -> None:
        """Refuse a layer that cannot be."""
        super().__post_init__()
        if self.layer < 0:
            raise ValueError(f"layer must be 0 or more, got {self.layer}")


def distance(hidden: "Tensor", target: "Tensor") -> "Tensor":  # (B, T, d), (B, T, d) or (d,) -> (B, T)
    """Mean squared distance over the hidden dimensions, in fp32."""
    return (hidden.float() - target.float()).square().mean(-1)


def direction(d: int, cfg: RMU) -> "Tensor":
    """The direction c u, (d,)."""
    import torch

    u = torch.rand(d, generator=torch.Generator().manual_seed(cfg.seed))
    return cfg.steering_coeff * u / u.norm()


def prepare(ctx: Context, cfg: RMU) -> None:
    """Draw the direction. Raises TrainError for a layer the model has not."""
    config = getattr(ctx.model, "module", ctx.model).config.get_text_config()
    if cfg.layer >= config.num_hidden_layers:
        raise TrainError(f"method.layer {cfg.layer}: the model has layers 0 to {config.num_hidden_layers - 1}")
    if "direction" not in ctx.state:
        ctx.state["direction"] = direction(config.hidden_size, cfg)


def hidden(model: Any, tokens: Tokens, layer: int) -> "Tensor":
    """Output of a layer at every token: (B, T, d)."""
    out = model(
        input_ids=tokens.input_ids,
        attention_mask=tokens.attention_mask,
        output_hidden_states=True,
        use_cache=False,
        logits_to_keep=1,
    )
    return out.hidden_states[layer + 1]


def answers(tokens: Tokens) -> "Tensor":
    """1.0 at the answers' own tokens, (B, T)."""
    return (tokens.labels != -100).float()


def step(ctx: Context, batch: ForgetBatch, cfg: RMU) -> LossOutput:
    """One forward pass over the forget side, two over the retain side."""
    now = hidden(ctx.model, batch.forget, cfg.layer)
    far = distance(now, ctx.state["direction"].to(now.device))
    forget = token_mean(far, answers(batch.forget), ctx.totals.get("forget"))
    if not cfg.alpha:
        return combined(forget, None, cfg)
    assert batch.retain is not None
    with ctx.models["start"] as start:
        before = hidden(start, batch.retain, cfg.layer)
    drift = distance(hidden(ctx.model, batch.retain, cfg.layer), before)
    retain = token_mean(drift, answers(batch.retain), ctx.totals.get("retain"))
    return combined(forget, retain, cfg)


METHOD = Method(
    stages=("unlearn",),
    config=RMU,
    batch=ForgetBatch,
    about="hidden states of the forget side steered to a random direction",
    source=Source(arxiv="2403.03218", note="section 4"),
    step=step,
    prepare=prepare,
    models=lambda cfg: {"start": Start()} if cfg.alpha else {},
    sides=sides,
)
