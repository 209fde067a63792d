"""What the ranks of a run agree on; without a process group there is one, and it agrees with itself."""

from typing import Any, TypeVar

Value = TypeVar("Value")


def from_writer(value: Value) -> Value:
    """Rank 0's value, on every rank: only that one writes the run folder and reads its tables."""
    import torch.distributed as dist

    if not _several():
        return value
    box = [value]
    dist.broadcast_object_list(box, src=0)
    return box[0]


def highest(value: int, device: Any) -> int:
    """The highest value of any rank, on every rank."""
    import torch
    import torch.distributed as dist

    if not _several():
        return value
    box = torch.tensor(value, device=device)
    dist.all_reduce(box, op=dist.ReduceOp.MAX)
    return int(box)


def _several() -> bool:
    import torch.distributed as dist

    return dist.is_available() and dist.is_initialized()
