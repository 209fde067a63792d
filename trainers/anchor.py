"""A pull towards the start model: weight x KL(start || model) on each batch's texts, added to any method's loss."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from trainers.logprobs import kl_over

if TYPE_CHECKING:
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


def anchor(trainer: Any, reference: "Reference", weight: float, texts: Texts) -> None:
    """Add the pull to a trainer's loss, and log it as `kl_to_start`: nats a token, averaged since the last line."""
    plain, log = trainer.compute_loss, trainer.log
    values: list[float] = []

    def compute_loss(
        model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        given = texts(inputs)
        found = plain(model, inputs, return_outputs, num_items_in_batch)
        if not given:
            return found
        loss, *rest = found if return_outputs else (found,)
        kl = kl_over(model, reference, given)
        values.append(trainer.accelerator.gather(kl.detach()).mean().item())
        counted = trainer.model_accepts_loss_kwargs and num_items_in_batch is not None
        parts = trainer.current_gradient_accumulation_steps if counted else 1  # else Trainer divides
        loss = loss + weight * kl / parts
        return (loss, *rest) if return_outputs else loss

    def with_kl(logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        log({**logs, **({"kl_to_start": sum(values) / len(values)} if values else {})}, *args, **kwargs)
        values.clear()

    trainer.compute_loss, trainer.log = compute_loss, with_kl
