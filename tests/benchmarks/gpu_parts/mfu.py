"""Share of the card's peak that a packed bf16 training step reaches, with and without activation checkpointing."""

from collections.abc import Iterator

from tests.benchmarks.gpu_parts.row import Row, measured
from tests.benchmarks.gpu_parts.shapes import Models, Scale
from tests.benchmarks.gpu_parts.training import trained


def rows(scale: Scale, models: Models) -> Iterator[Row]:
    """Each shape both ways."""
    for shape in scale.shapes:
        for value in ("false", "true"):
            yield measured(
                "mfu",
                f"{shape.said}, {shape.rows} x {shape.length} tokens, checkpointing {value}",
                lambda shape=shape, value=value: trained(
                    shape, models.folder(shape), f"train.activation_checkpointing={value}"
                ),
            )
