"""What is chosen where a recipe says nothing, against its neighbours: activation checkpointing, tokens of a pass."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

from eval_hooks.scoring.pass_size import size_for, sized
from tests.benchmarks.gpu_parts.row import Numbers, Row, measured
from tests.benchmarks.gpu_parts.scoring import scored
from tests.benchmarks.gpu_parts.shapes import Models, Scale, loaded
from tests.benchmarks.gpu_parts.training import trained

NOTHING: dict[str, tuple[str, ...]] = {"nothing said": ()}
CHECKPOINTING = {value: (f"train.activation_checkpointing={value}",) for value in ("false", "true")}
NEIGHBOURS = (0.25, 0.5, 2.0, 4.0)
"""Sizes of a pass, in proportion to the chosen one."""


def rows(scale: Scale, models: Models) -> Iterator[Row]:
    """The last shape."""
    shape = scale.shapes[-1]
    for said, words in {**NOTHING, **CHECKPOINTING}.items():
        yield measured(
            "choices",
            f"{shape.said}, {shape.rows} x {shape.length} tokens, checkpointing: {said}",
            lambda words=words: trained(shape, models.folder(shape), *words),
        )
    model = loaded(models.folder(shape))
    size = size_for(model).tokens
    yield measured(
        "choices",
        f"{shape.name}, batch_tokens: nothing said, {size}",
        lambda: scored(model, scale, inside=as_evaluated),
    )
    for times in NEIGHBOURS:
        other = max(1, int(size * times))
        yield measured(
            "choices", f"{shape.name}, batch_tokens {other}", lambda other=other: _as_large(model, scale, other)
        )


def _as_large(model: Any, scale: Scale, size: int) -> Numbers:
    return scored(model, scale, size, inside=as_evaluated)


def as_evaluated(model: Any) -> AbstractContextManager[None]:
    """What an evaluation enters before it scores."""
    return sized(size_for(model))
