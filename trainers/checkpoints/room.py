"""How many bytes a checkpoint takes, by what is trained, by the optimizer, and by DeepSpeed's stage.

Measured with deepspeed 0.19 (tests/trainers/test_room.py): an optimizer's state alone is a file of torch's. DeepSpeed
writes its fp32 copy of what is trained beside the state, in whatever type the model computes (for Adam 4 + 8 bytes a
parameter, not 8); at ZeRO-1 and 2 it writes what is trained once more, and of a LoRA's base a tied head, since
frozen weights are left out by their first name only.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eval_hooks.files import read_json
from trainers.adapters import numel
from trainers.arguments import setting
from trainers.memory.optimizers import FP32, kept
from trainers.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class Room:
    """Bytes of one checkpoint."""

    weights: int
    """Of the model or the adapter, which stay when a checkpoint is only kept as the best one."""
    resuming: float
    """What only resuming needs."""

    @property
    def whole(self) -> float:
        """Of one to resume from."""
        return self.weights + self.resuming


@dataclass(frozen=True, kw_only=True)
class Engine:
    """What a DeepSpeed configuration says of the weights."""

    stage: int
    half: bool
    """Whether it computes in 16 bits, with fp32 copies."""


def engine_of(file: Path, half: bool) -> Engine:
    """`half`: whether the run is in 16 bits, which `auto` in the file means."""
    config: Mapping[str, Any] = read_json(file)
    on = [config.get(kind, {}).get("enabled", False) for kind in ("bf16", "fp16")]
    return Engine(
        stage=int(config.get("zero_optimization", {}).get("stage", 0)),
        half=any(value is True or (value == "auto" and half) for value in on),
    )


def room(recipe: Recipe, model: Any, half: bool) -> Room:
    """Of a recipe's checkpoints; `model` may be sharded, or without weights. `half`: whether the run is in 16 bits."""
    engine = engine_of(recipe.deepspeed, half) if recipe.deepspeed else None
    each = 2 if engine and engine.half else None
    whole = recipe.adapter.kind == "none"
    parameters = list(model.parameters())
    trained = [p for p in parameters if p.requires_grad]
    saved = trained if not whole else parameters
    if whole and engine and engine.stage < 3:  # tied weights are cloned on the way, and written twice
        saved = [*parameters, *_tied(model)]
    weights = _bytes(saved, each)
    if recipe.train.get("save_only_model"):
        return Room(weights=weights, resuming=0)
    state = kept(setting(recipe, "optim"))
    if engine is None:
        return Room(weights=weights, resuming=sum(numel(p) * state.bytes(p.element_size()) for p in trained))
    copies = sum(numel(p) * (FP32 + state.bytes(FP32)) for p in trained)
    again = [] if engine.stage >= 3 else [*trained, *(p for p in _tied(model) if not p.requires_grad)]
    return Room(weights=weights, resuming=copies + _bytes(again, each))


def _tied(model: Any) -> list[Any]:
    """Parameters once for each further name that they have."""
    first = {id(p): name for name, p in model.named_parameters()}
    return [p for name, p in model.named_parameters(remove_duplicate=False) if first[id(p)] != name]


def _bytes(parameters: Any, each: int | None) -> int:
    """`each`: bytes of a number where the engine casts floating-point weights; None: as they are."""
    return sum(numel(p) * (each if each and p.is_floating_point() else p.element_size()) for p in parameters)
