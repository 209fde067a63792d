"""What is chosen where a recipe says nothing, against its neighbours: activation checkpointing, tokens of a pass."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

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
    size = chosen_tokens(model)
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
    """What an evaluation enters before it scores: where the size of passes is chosen by the machine, it is here."""
    try:
        from eval_hooks.scoring.pass_size import size_for, sized
    except ImportError:
        return nullcontext()
    return sized(size_for(model))


def chosen_tokens(model: Any) -> int:
    """Tokens of a pass where nothing is said."""
    try:
        from eval_hooks.scoring.pass_size import size_for
    except ImportError:
        from eval_hooks.config import BATCH_TOKENS

        return BATCH_TOKENS
    return size_for(model).tokens
