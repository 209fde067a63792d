"""Batches of a method's own: its columns beside its stage's, or all of it where the method lays rows out itself."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any

from trainers import TrainError
from trainers.method import Collation

if TYPE_CHECKING:
    from torch import Tensor

Row = Mapping[str, Any]
EXTRA, WHOLE, ROWS = "extra", "batch", "rows"
"""Keys of what a collator gives: the method's columns; the batch that `collate` made, and the number of its rows."""


class RowBatch(dict[str, Any]):
    """A stage's batch as the model is given it, by name, with the method's own columns beside."""

    def __init__(self, columns: Row, extra: Mapping[str, "Tensor"]) -> None:
        super().__init__(columns)
        self.extra = extra


class ExtraCollator:
    """A stage's collator, with the method's columns as `extra`: name -> (B,), or (B, n) for lists, padded with 0."""

    def __init__(self, inner: Callable[[Sequence[Row]], dict[str, Any]], names: Sequence[str]) -> None:
        self.inner, self.names = inner, names

    def __getattr__(self, name: str) -> Any:
        """Whatever a trainer asks its collator."""
        return getattr(self.__dict__["inner"], name)

    def __call__(self, rows: Sequence[Row]) -> dict[str, Any]:
        """The stage's batch and `extra`."""
        own = [{key: value for key, value in row.items() if key not in self.names} for row in rows]
        return {**self.inner(own), EXTRA: extra_of(rows, self.names)}


def extra_of(rows: Sequence[Row], names: Sequence[str]) -> dict[str, "Tensor"]:
    """The columns of some rows as tensors."""
    import torch

    found = {}
    for name in names:
        values = [row[name] for row in rows]
        if any(isinstance(value, list) for value in values):
            width = max(len(value) for value in values)
            values = [[*value, *[0] * (width - len(value))] for value in values]
        found[name] = torch.tensor(values)
    return found


class OwnCollator:
    """`Method.collate` in the place of the stage's collator."""

    def __init__(self, collate: Callable[[Sequence[Row], Collation], Any], how: Callable[[], Collation]) -> None:
        self.collate, self.how = collate, how

    def __call__(self, rows: Sequence[Row]) -> dict[str, Any]:
        """The method's batch, whatever it is, and how many rows it was made from."""
        import torch

        return {WHOLE: self.collate(rows, self.how()), ROWS: torch.tensor(len(rows))}


def moved(batch: Any, device: Any) -> Any:
    """A map or a dataclass of tensors, on a device. Raises TrainError for anything else."""
    if isinstance(batch, Mapping):
        return RowBatch({key: _there(value, device) for key, value in batch.items()}, batch.get(EXTRA, {}))
    if is_dataclass(batch) and not isinstance(batch, type):
        return replace(batch, **{f.name: _there(getattr(batch, f.name), device) for f in fields(batch) if f.init})
    raise TrainError(f"Method.collate gives a {type(batch).__name__}; a map or a dataclass of tensors is due")


def _there(value: Any, device: Any) -> Any:
    if isinstance(value, Mapping) or is_dataclass(value):
        return moved(value, device)
    return value.to(device) if hasattr(value, "to") else value
