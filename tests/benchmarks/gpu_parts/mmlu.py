"""14,042 items of MMLU's size, 5 shots, by tokens of a forward pass. Aim: 8B in a minute."""

from collections.abc import Iterator

from tests.benchmarks.gpu_parts.row import Row, measured
from tests.benchmarks.gpu_parts.scoring import scored
from tests.benchmarks.gpu_parts.shapes import Models, Scale, loaded


def rows(scale: Scale, models: Models) -> Iterator[Row]:
    """Each shape at each size."""
    for shape in scale.shapes:
        model = loaded(models.folder(shape))
        for size in scale.batch_tokens:
            yield measured(
                "mmlu", f"{shape.name}, batch_tokens {size}", lambda size=size, model=model: scored(model, scale, size)
            )
        del model
