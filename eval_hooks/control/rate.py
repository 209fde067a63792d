"""A lower learning rate from now on, whatever scheduler computes it: torch's, transformers' or DeepSpeed's.

A schedule is linear in the rates that its scheduler was made with. Those are scaled, and so is the rate of the next
step; torch's save theirs in a checkpoint, DeepSpeed's do not and are scaled again when a run goes on.
"""

from collections.abc import Iterator
from typing import Any

RATES = ("base_lrs", "max_lrs", "min_lrs", "delta_lrs", "org_lrs", "min_lr", "eta_min", "_last_lr")
OF_GROUP = ("lr", "initial_lr", "max_lr", "min_lr")
"""torch's OneCycleLR keeps its ends with the parameters."""


def slow(optimizer: Any, scheduler: Any, factor: float) -> None:
    """Multiply the learning rate, now and for the rest of the schedule."""
    for one in _schedulers(scheduler):
        _scale(one, RATES, factor)
    for group in _groups(optimizer, scheduler):
        for key in OF_GROUP:
            if key in group:
                group[key] *= factor


def slow_again(scheduler: Any, factor: float) -> None:
    """The same of what a scheduler's checkpoint does not hold; the rates of torch's are as they were saved."""
    for one in _schedulers(scheduler):
        saved = one.state_dict()
        forgotten = [name for name in RATES if name not in saved]
        if not _scale(one, forgotten, factor) or "base_lrs" in saved:
            continue
        for group, rate in zip(one.optimizer.param_groups, one.get_lr(), strict=True):
            group["lr"] = rate


def _scale(scheduler: Any, names: Any, factor: float) -> bool:
    """Whether it has any of these."""
    found = [name for name in names if name in vars(scheduler)]
    for name in found:
        value = getattr(scheduler, name)
        setattr(scheduler, name, [rate * factor for rate in value] if isinstance(value, list) else value * factor)
    return bool(found)


def _schedulers(scheduler: Any) -> Iterator[Any]:
    """It without accelerate's wrapper, and those it is made of."""
    inner = getattr(scheduler, "scheduler", scheduler)
    yield inner
    for part in getattr(inner, "_schedulers", ()):
        yield from _schedulers(part)


def _groups(optimizer: Any, scheduler: Any) -> list[dict[str, Any]]:
    """Groups of parameters of the optimizer and of the one that the scheduler has, each once."""
    inner = getattr(scheduler, "scheduler", scheduler)
    own = getattr(getattr(inner, "optimizer", None), "param_groups", [])
    return list({id(group): group for group in [*optimizer.param_groups, *own]}.values())
