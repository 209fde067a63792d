"""A task scored on a live model: its per-item table."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from eval_hooks.catalog import row_of
from eval_hooks.forward import Progress, no_progress
from eval_hooks.harness.measure import measure as measure_harness
from eval_hooks.tasks.kinds import KINDS
from eval_hooks.tasks.prepared import Reader, Ready

if TYPE_CHECKING:
    import pyarrow as pa


def measure(task: Ready, model: Any, reader: Reader, progress: Progress = no_progress) -> "pa.Table":
    """The per-item table of one task on the model as it is now."""
    return MEASURES[row_of(task.spec.task).kind](task, model, reader, progress)


def _measure_harness(task: Ready, model: Any, reader: Reader, progress: Progress) -> "pa.Table":
    assert task.harness is not None
    return measure_harness(task.name, task.harness, model, reader, task.spec.batch_tokens, progress)


MEASURES: Mapping[str, Callable[[Ready, Any, Reader, Progress], "pa.Table"]] = {
    **{name: kind.measure for name, kind in KINDS.items() if kind.measure},
    "harness": _measure_harness,
}
"""Kind of a task -> what measures it; lm-eval's tasks are measured by it, whatever the kind of their tables."""
