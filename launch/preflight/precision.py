"""The type of the trained weights against the size of an update: what is smaller than the type's spacing is lost."""

from typing import TYPE_CHECKING, Any

from eval_hooks.evaluate import half_precision
from launch.findings import Finding, bad, ok, warn
from launch.preflight.subject import Subject
from trainers import TrainError

if TYPE_CHECKING:
    from torch import Tensor

WEIGHTS_LOOKED_AT = 2**20


def check(subject: Subject) -> list[Finding]:
    """Share of the trained weights that one Adam step of the full rate would not move."""
    from trainers.models import check_precision

    rate, weights = subject.setting("learning_rate"), trained(subject.model)
    share = lost(weights, rate)
    name = str(weights.dtype).removeprefix("torch.")
    text = f"{name} weights: a step of {rate:g} is under half the spacing for {share:.0%} of those that are trained"
    try:
        check_precision(subject.recipe, subject.model, bool(half_precision(subject.arguments())))
    except TrainError as error:
        return [bad(text, str(error).partition("; ")[2])]
    if subject.recipe.model.force_bf16_weights and share:
        return [warn(f"{text}; model.force_bf16_weights asks for it", "model.dtype: float32, with train.bf16: true")]
    if name in ("bfloat16", "float16"):
        return [ok(f"{text}; DeepSpeed keeps fp32 copies, which are what is updated")]
    return [ok(text)]


def trained(model: Any) -> "Tensor":
    """Some of the trained weights that are not 0 (a LoRA's B begins there), evenly from all parameters."""
    import torch

    parameters = [p.detach().flatten() for p in model.parameters() if p.requires_grad]
    every = max(1, sum(p.numel() for p in parameters) // WEIGHTS_LOOKED_AT)
    some = torch.cat([p[::every].cpu() for p in parameters])
    return some[some != 0]


def lost(weights: "Tensor", step: float) -> float:
    """Share of weights w with step < spacing(w) / 2, so that w - step rounds to w.

    Spacing of a type at w: eps x 2^floor(log2 |w|); bfloat16 has eps 2^-7.
    """
    import torch

    if not len(weights):
        return 0.0
    eps = torch.finfo(weights.dtype).eps
    spacing = eps * torch.exp2(torch.floor(torch.log2(weights.float().abs())))
    return (step < spacing / 2).float().mean().item()
