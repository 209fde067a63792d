"""The forms a checkpoint is certified in, and how far each may be from what the trainer measured."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from eval_hooks.certificate import rounding
from eval_hooks.files import read_json
from trainers.certify_subject import Row, Subject
from trainers.environment import same_machine
from trainers.quantise import quantise


def exactly(subject: Subject) -> tuple[float | None, str]:
    """Tolerance of the reloaded checkpoint."""
    bound = rounding(subject.arithmetic)
    if other := same_machine(read_json(subject.place.folder / "environment.json")):
        return bound, f"the run had {other}: the same sums in another order"
    if subject.arguments.deepspeed:
        return bound, "ZeRO-3 adds a layer's bias in a kernel of its own: the same sums in another order"
    if not subject.whole:
        return bound, "the trainer scored a part of the items, in other batches: the same sums in another order"
    return 0.0, "the run's machine and versions, prompts and batches: the same sums in the same order"


def nearly(subject: Subject) -> tuple[float | None, str]:
    """Tolerance of the merged adapter."""
    if subject.recipe.adapter.kind == "qlora":
        return None, "merged into the base before it was quantised: judged by what is lost"
    return rounding(subject.arithmetic), "W + BA at once in place of W and BA one after the other"


def by_verdict(subject: Subject) -> tuple[float | None, str]:
    """Of what changes the weights themselves."""
    return None, "judged by what is lost against the start: no loss is proven"


TOLERANCES: Mapping[str, Callable[[Subject], tuple[float | None, str]]] = {"reloaded": exactly, "merged": nearly}
"""Form -> (nats that a log-probability may differ by, why); None: the verdict of retention decides."""


def loaded(subject: Subject) -> Any:
    """The checkpoint's model, an adapter not merged, in the type it was trained in."""
    import torch
    import transformers

    from trainers.watched import of_checkpoint

    transformers.set_seed(subject.arguments.seed)  # rows of new tokens are drawn
    dtype: Any = subject.arithmetic.partition(",")[0]
    recipe = replace(subject.recipe, model=replace(subject.recipe.model, dtype=dtype))
    model = of_checkpoint(recipe, subject.folder, subject.tokenizer)
    casts = subject.arguments.deepspeed and dtype != "auto"  # the engine casts a LoRA too
    return model.to(getattr(torch, dtype)) if casts else model


def merged(subject: Subject) -> Any:
    """The same with an adapter merged into its base; one that was trained on a quantised base gets the whole one."""
    adapter = replace(subject.recipe.adapter, kind="lora") if subject.recipe.adapter.kind == "qlora" else None
    whole = replace(subject, recipe=replace(subject.recipe, adapter=adapter)) if adapter else subject
    model = loaded(whole)
    return model.merge_and_unload(safe_merge=True) if hasattr(model, "merge_and_unload") else model


def rounded(subject: Subject, bits: int) -> tuple[Any, Row]:
    """(the merged model with weights of so many bits, the share of its parameters that have them)."""
    model = merged(subject)
    return model, {"share": quantise(model, bits)}


def prepared(model: Any, subject: Subject) -> Any:
    """On this machine's device, with the trainer's autocast around its forward pass, if it had one.

    Without accelerate, which in a run that has just ended still means that run's ranks and DeepSpeed.
    """
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    if not getattr(model, "is_quantized", False):  # qlora's base is where it was loaded to
        model = model.to(device)
    _, _, autocast = subject.arithmetic.partition(", ")
    if autocast:
        model.forward = torch.autocast(device, getattr(torch, autocast.split()[0]))(model.forward)
    return model
