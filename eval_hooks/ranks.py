"""What the ranks of a run agree on and share out; without a process group there is one, and it does everything."""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, TypeVar

from eval_hooks.errors import EvalError

Value = TypeVar("Value")
_ALONE: ContextVar[bool] = ContextVar("_ALONE", default=False)
_TURNED: ContextVar[int] = ContextVar("_TURNED", default=0)
"""By how many ranks the shares of work are moved on."""


@contextmanager
def alone() -> Iterator[None]:
    """Inside, a rank works as if it were the only one, and waits for nobody."""
    before = _ALONE.set(True)
    try:
        yield
    finally:
        _ALONE.reset(before)


@contextmanager
def other_ranks() -> Iterator[None]:
    """Inside, work is shared out one rank further on, so that another device does it."""
    before = _TURNED.set(1)
    try:
        yield
    finally:
        _TURNED.reset(before)


class AbandonedError(EvalError):
    """An evaluation that was broken off because the run is to end."""


def from_writer(value: Value) -> Value:
    """Rank 0's value, on every rank: only that one writes the run folder and reads its tables."""
    import torch.distributed as dist

    if not _several():
        return value
    box = [value]
    dist.broadcast_object_list(box, src=0)
    return box[0]


def on_writer(make: Callable[[], Value]) -> Value | None:
    """What rank 0 makes, there; None elsewhere. What it fails with is raised on every rank."""
    made, failed = None, None
    if place()[0] == 0:
        try:
            made = make()
        except Exception as error:  # the others wait, so they have to hear of it
            failed = error
    raise_everywhere(failed)
    return made


def highest(value: int, device: Any) -> int:
    """The highest value of any rank, on every rank."""
    import torch
    import torch.distributed as dist

    if not _several():
        return value
    box = torch.tensor(value, device=device)
    dist.all_reduce(box, op=dist.ReduceOp.MAX)
    return int(box)


def anywhere(flag: bool) -> bool:
    """Whether it is so on any rank, on every rank."""
    return any(from_all({place()[0]: flag}).values())


@dataclass(frozen=True, kw_only=True)
class Job:
    """A piece of work for which the model is called."""

    cost: int
    """Tokens run."""
    members: Sequence[int]
    """Numbers of the items it is about."""
    calls: int = 1
    """How often the model is called, but for the prefix."""
    prefix: Sequence[int] = ()
    """Tokens run once before it and the jobs beside it that have the same object."""


def share(jobs: Sequence[Job], rank: int, ranks: int) -> range:
    """Which of the jobs in a row a rank does: one after the other, about as much cost on every rank.

    All jobs are somebody's and none is two ranks'; a rank may have none.
    """
    ends = list(accumulate(job.cost for job in jobs))
    owners = [int(ranks * (end - job.cost / 2) / ends[-1]) for job, end in zip(jobs, ends, strict=True)]
    return range(bisect_left(owners, rank), bisect_right(owners, rank))


def no_prefix_is_ready(prefix: Sequence[int]) -> bool:
    """Where none was run before."""
    return False


def calls(jobs: Sequence[Job], mine: range, ready: Callable[[Sequence[int]], bool] = no_prefix_is_ready) -> list[int]:
    """How often a rank calls the model for each of its jobs; for a prefix that it has `ready` it need not."""
    own = [jobs[i] for i in mine]
    met = [job.prefix and (i == 0 or own[i - 1].prefix is not job.prefix) for i, job in enumerate(own)]
    return [job.calls + bool(new and not ready(job.prefix)) for job, new in zip(own, met, strict=True)]


def shared_out(
    jobs: Sequence[Job],
    work: Callable[[int], Sequence[Value]],
    idle: Callable[[], object],
    progress: Callable[[int], None],
    ready: Callable[[Sequence[int]], bool] = no_prefix_is_ready,
) -> list[Value]:
    """Every item's result, in the items' order, on every rank.

    `work` takes a job's number and gives its members' results. Every rank calls the model equally often, the rest by
    `idle`: under ZeRO-3 a forward pass gathers weights from all of them. That number is known beforehand, since who has
    nothing to do must call while others work. `ready` says which prefixes this rank need not run. `progress` hears of
    all items, as far as this rank can tell.
    """
    rank, ranks = place()
    mine = share(jobs, (rank + _TURNED.get()) % ranks, ranks)
    planned = calls(jobs, mine, ready)
    most = max(from_all({rank: sum(planned)}).values())
    items, own = sum(len(job.members) for job in jobs), sum(jobs[i].cost for i in mine)
    found: dict[int, Value] = {}
    done = shown = 0
    failed: Exception | None = None
    for number in mine:
        try:
            found |= zip(jobs[number].members, work(number), strict=True)
            done += jobs[number].cost
            progress(items * done // own - shown)
            shown = items * done // own
        except Exception as error:  # the other ranks wait for this one, so they have to hear of it
            failed = error
            break
    made = sum(planned[: number + 1 - mine.start] if failed else planned)
    for _ in range(most - made):
        idle()
    raise_everywhere(failed)
    found = from_all(found)
    return [found[i] for i in sorted(found)]


def raise_everywhere(failed: Exception | None) -> None:
    """Raise what any rank failed with on every rank; the rank itself raises its own error.

    Where one abandons, all do.
    """
    rank, _ = place()
    texts = from_all({rank: f"{type(failed).__name__}: {failed}" if failed else ""})
    if failed:
        raise failed
    for other, text in texts.items():
        if text.startswith(AbandonedError.__name__):
            raise AbandonedError(text)
        if text:
            raise EvalError(f"rank {other} failed: {text}")


def from_all(found: dict[int, Value]) -> dict[int, Value]:
    """What every rank found, by number, on every rank."""
    import torch.distributed as dist

    if not _several():
        return found
    boxes: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(boxes, found)
    return {number: value for box in boxes for number, value in box.items()}


def place() -> tuple[int, int]:
    """(rank, number of ranks)."""
    import torch.distributed as dist

    return (dist.get_rank(), dist.get_world_size()) if _several() else (0, 1)


def _several() -> bool:
    import torch.distributed as dist

    return dist.is_available() and dist.is_initialized() and not _ALONE.get()
