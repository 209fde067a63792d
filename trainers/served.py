"""What is wrong with a row of the table of methods, found when it is loaded: what would be passed over in silence."""

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any

from trainers.catalog import STAGES, Stage
from trainers.method import Method

EVERYWHERE = frozenset({"stages", "config", "batch", "about", "source", "defaults", "trainer", "arguments", "prepare",
                        "edit_grads", "after_update"})  # fmt: skip
"""Slots that every stage serves: the moments around a step are called whoever computes the loss."""
CALLED_WITH = {
    "step": ("ctx", "batch", "cfg"), "collate": ("rows", "how"), "models": ("cfg",), "prepare": ("ctx", "cfg"),
    "edit_grads": ("ctx", "gradients", "cfg"), "after_update": ("ctx", "metrics", "cfg"), "weigh": ("batch", "cfg"),
    "sides": ("cfg",), "trainer": (), "arguments": (),
}  # fmt: skip
"""Slot -> the arguments it is called with."""
FOR_A_STEP = ("columns", "collate", "weigh", "needs_parts")
"""Slots that only a step of the method's own reads."""
TAKEN = frozenset({"input_ids", "labels", "parts", "attention_mask", "position_ids", "seq_lengths", "prompt",
                   "completion", "chosen", "rejected", "messages", "conversations", "text", "side", "verifier", "extra",
                   "batch", "rows", "prompt_ids", "chosen_ids", "rejected_ids", "row", "reference"})  # fmt: skip
"""Names that a row's own columns cannot have."""


def problems(row: Any, stages: Mapping[str, Stage] = STAGES) -> list[str]:
    """Each as a sentence with its remedy; none where the row does what it says."""
    if not isinstance(row, Method):
        return [f"is a {type(row).__name__}; write a Method(...)"]
    return [*_stages(row, stages), *_shape(row), *_unserved(row, stages)]


def _stages(row: Method[Any, Any], stages: Mapping[str, Stage]) -> Iterator[str]:
    there = ", ".join(stages)
    if not isinstance(row.stages, tuple):
        yield f"stages {row.stages!r}: a tuple of names is due, as ('sft',)"
    elif not row.stages:
        yield f"names no stage; write stages=(...), of {there}"
    elif unknown := [name for name in row.stages if name not in stages]:
        yield f"stages: no stage {unknown[0]!r}; there is: {there}"


def _shape(row: Method[Any, Any]) -> Iterator[str]:
    """What holds whatever the stage."""
    if not (isinstance(row.config, type) and is_dataclass(row.config)):
        yield "config is no dataclass; write a frozen, keyword-only one"
    if row.step is None and not row.trl and row.trainer is None:
        yield "computes no loss; give it a step, or in trl the arguments of TRL's own loss"
    for slot, names in CALLED_WITH.items():
        if text := wrong_call(getattr(row, slot), names):
            yield f"{slot}: {text}"
    for slot in FOR_A_STEP:
        if row.step is None and getattr(row, slot) != default(slot):
            yield f"{slot}: only a step reads it, and there is none; remove it or give the method its own step"
    if isinstance(row.columns, str) or not all(isinstance(name, str) for name in row.columns):
        yield f"columns {row.columns!r}: a tuple of names is due"
    elif taken := [name for name in row.columns if name in TAKEN]:
        yield f"columns: {taken[0]!r} is a name of the suite's own; rename it in the recipe's `columns`"


def wrong_call(function: Any, names: tuple[str, ...]) -> str | None:
    """Why a slot cannot be called as it will be."""
    if function is None:
        return None
    if not callable(function):
        return f"is a {type(function).__name__}; a function of ({', '.join(names)}) is due"
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # written in C
        return None
    try:
        signature.bind(*names)
    except TypeError:
        return f"takes {signature}; it is called with ({', '.join(names)})"
    return None


def _unserved(row: Method[Any, Any], stages: Mapping[str, Stage]) -> Iterator[str]:
    filled = [field.name for field in fields(row) if getattr(row, field.name) != default(field.name)]
    for name in row.stages if isinstance(row.stages, tuple) else ():
        if name not in stages:
            continue
        served = EVERYWHERE | stages[name].serves
        for slot in filled:
            if slot not in served:
                others = [other for other, stage in stages.items() if slot in stage.serves]
                where = f"{' and '.join(others)} can" if others else "no stage can"
                yield f"{slot}: stage {name} never looks at it; {where}; remove it, or the stage"


def default(slot: str) -> Any:
    """A slot's value where nobody fills it."""
    field = Method.__dataclass_fields__[slot]
    return field.default_factory() if field.default_factory is not MISSING else field.default
