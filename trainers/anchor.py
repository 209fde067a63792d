"""A pull towards the start model: weight x KL(start || model) on each batch's texts, added to any method's loss."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trainers.logprobs import kl_over

if TYPE_CHECKING:
    from torch import Tensor

    from trainers.reference import Reference

Texts = Callable[[Mapping[str, Any]], dict[str, Any]]
"""A stage's batch -> what the model is given of it: input_ids (B, T), with attention_mask or position_ids."""


def own_texts(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """All texts of a batch."""
    return {name: inputs[name] for name in ("input_ids", "attention_mask", "position_ids") if name in inputs}


def retained_texts(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Those to retain, of a batch that also has some to forget; empty where it has none."""
    names = ("input_ids", "attention_mask")
    return {name: inputs[f"retain_{name}"] for name in names if f"retain_{name}" in inputs}


@dataclass(frozen=True, kw_only=True)
class Pull:
    """As a trainer holds it; logged as `kl_to_start`, nats a token."""

    start: "Reference"
    weight: float
    texts: Texts

    def kl(self, model: Any, texts: Mapping[str, Any]) -> "Tensor":
        """KL(start || model), mean over the texts' places: ()."""
        return kl_over(model, self.start, texts)
