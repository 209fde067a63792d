"""ZeRO-3 shards every weight, and a forward pass gathers them layer by layer: for each token that is generated, again.

So where they fit, generation gathers all of them once.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

from eval_hooks.forward import free_memory
from eval_hooks.ranks import from_all, place

SHARE = 0.8
"""Of the free memory that the whole weights may take."""
GIB = 2**30


@contextmanager
def whole_weights(model: Any, optimizer: Any) -> Iterator[None]:
    """All weights on every rank while inside, under ZeRO-3 and where they fit on each; said once where they do not.

    `optimizer` is the trainer's; DeepSpeed's hooks hang on it. All ranks enter together.
    """
    offload = _offload(optimizer)
    if offload is None or not _fits(model):
        yield
        return
    import deepspeed
    from trl.models.utils import add_hooks, remove_hooks

    engine = SimpleNamespace(optimizer=SimpleNamespace(parameter_offload=offload))
    with deepspeed.zero.GatheredParameters(list(model.parameters())):
        remove_hooks(engine)  # they would give each layer's weights back after its forward pass
        try:
            yield
        finally:
            add_hooks(engine)


def _offload(optimizer: Any) -> Any:
    """ZeRO-3's keeper of sharded weights, on the optimizer or on one that it wraps; None without ZeRO-3."""
    while optimizer is not None and not hasattr(optimizer, "parameter_offload"):
        optimizer = getattr(optimizer, "optimizer", None)
    return getattr(optimizer, "parameter_offload", None)


def _fits(model: Any) -> bool:
    rank, _ = place()
    needed = sum(getattr(p, "ds_numel", p.numel()) * p.element_size() for p in model.parameters())
    free = min(from_all({rank: free_memory(model)}).values())
    if needed > SHARE * free:
        warnings.warn(
            f"ZeRO-3: the whole weights take {needed / GIB:.1f} GiB and {free / GIB:.1f} GiB are free, so generative "
            "tasks gather them layer by layer for each token, which is slow; ask them less often, or on more memory",
            stacklevel=2,
        )
        return False
    return True
