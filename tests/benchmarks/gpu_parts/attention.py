"""Flash attention, where it is installed, against sdpa: a packed training step, and scoring.

Scoring needs a mask that flash attention does not take, so that it goes by sdpa whatever the model is loaded with.
"""

from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec

from tests.benchmarks.gpu_parts.row import NOTE, Numbers, Row, measured
from tests.benchmarks.gpu_parts.scoring import scored
from tests.benchmarks.gpu_parts.shapes import Models, Scale, Shape, loaded
from tests.benchmarks.gpu_parts.training import trained

KINDS = {"sdpa": None, "flash_attention_2": "flash_attn", "flash_attention_3": "flash_attn_interface"}
"""Attention -> the module it needs."""
SIZE = 4096


def rows(scale: Scale, models: Models) -> Iterator[Row]:
    """The last shape, both ways of using it, by each kind."""
    shape = scale.shapes[-1]
    for kind, module in KINDS.items():
        if module and find_spec(module) is None:
            yield Row(part="attention", case=kind, numbers={NOTE: f"not installed: {module}"})
            continue
        yield measured(
            "attention",
            f"{kind}, step of {shape.said}, {shape.rows} x {shape.length} tokens",
            lambda kind=kind: trained(shape, models.folder(shape), f"model.attn_implementation={kind}"),
        )
        yield measured(
            "attention", f"{kind}, scoring, {shape.name}, batch_tokens {SIZE}",
            lambda kind=kind: _scored(kind, shape, scale, models),
        )  # fmt: skip


def _scored(kind: str, shape: Shape, scale: Scale, models: Models) -> Numbers:
    return scored(loaded(models.folder(shape), kind), replace(scale, seconds=2 * scale.seconds), SIZE)
