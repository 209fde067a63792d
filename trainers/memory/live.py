"""How much memory a computation takes at its peak, counted without running it.

Tensors are torch's fake ones (torch._subclasses.FakeTensorMode): they have shapes and types and no data. Every
operation of forward and backward is seen by a dispatch mode, which adds up the storages that are alive. So what
autograd saves is not modelled but counted, for any architecture and attention, with activation checkpointing or
without, and so is what an operation needs for itself. torch's own MemTracker (torch.distributed._tools) counts the
same, twenty times slower. Tests compare with it, and with the formula of Korthikanti et al. 2022 (arXiv:2205.05198,
section 4.1: s b h (34 + 5 a s / h) bytes a layer).
"""

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


@dataclass(frozen=True, kw_only=True)
class Peak:
    """Bytes beside weights and optimizer state."""

    together: int
    """Activations and gradients at the moment when both together are largest, from no gradients on."""
    beside: int
    """The same without the gradients of parameters: at most so much lies beside them."""


class Live(TorchDispatchMode):
    """Adds up the storages that operations make while inside; `held` are the ones that are there anyway."""

    def __init__(self, held: set[int]) -> None:
        super().__init__()
        self.live = self.gradients = self.peak = self.peak_beside = 0
        self._held = held
        self._known: dict[int, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operation, then count what it made."""
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, torch.Tensor):
                self._add(tensor.untyped_storage())
        self.peak = max(self.peak, self.live)
        self.peak_beside = max(self.peak_beside, self.live - self.gradients)
        return out

    def _add(self, storage: Any) -> None:
        key = storage._cdata
        if key not in self._held and key not in self._known:
            self._known[key] = storage.nbytes()
            self.live += storage.nbytes()
            weakref.finalize(storage, self._free, key)

    def _free(self, key: int) -> None:
        self.live -= self._known.pop(key)

    def grown(self, parameter: torch.Tensor) -> None:
        """A parameter has its gradient."""
        assert parameter.grad is not None
        self.gradients += parameter.grad.untyped_storage().nbytes()


@contextmanager
def counted(model: torch.nn.Module) -> Iterator[Live]:
    """Count what is made while inside, beside the model's parameters and buffers."""
    held = {tensor.untyped_storage()._cdata for tensor in (*model.parameters(), *model.buffers())}
    live = Live(held)
    hooks = [
        parameter.register_post_accumulate_grad_hook(live.grown)
        for parameter in model.parameters()
        if parameter.requires_grad
    ]
    try:
        with live:
            yield live
    finally:
        for hook in hooks:
            hook.remove()
        for parameter in model.parameters():
            parameter.grad = None


def peak_of(model: torch.nn.Module, loss: Callable[[], torch.Tensor]) -> Peak:
    """The peak of a forward pass that ends in a loss, and its backward pass. Call it under FakeTensorMode."""
    with counted(model) as live:
        loss().backward()
    return Peak(together=live.peak, beside=live.peak_beside)


def peak_without_gradients(model: torch.nn.Module, forward: Callable[[], Any]) -> int:
    """The peak of a forward pass in evaluation mode, in bytes. Call it under FakeTensorMode."""
    training = model.training
    model.eval()
    with torch.no_grad(), counted(model) as live:
        forward()
    model.train(training)
    return live.peak


@contextmanager
def head_as_on_gpu() -> Iterator[None]:
    """Trl's fused head works on its tiles in place there, by Triton kernels; on a CPU torch makes eight copies."""
    with (
        patch("trl.kernels.chunked_logprob._forward_tile", _in_place),
        patch("trl.kernels.chunked_logprob._backward_tile", _in_place),
    ):
        yield


def _in_place(*args: Any, **kwargs: Any) -> None:
    """A kernel that needs no memory of its own."""
