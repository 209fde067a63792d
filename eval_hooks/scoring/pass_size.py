"""How much a forward pass of an evaluation takes at once, by the machine: its tokens, and the logits held at a time.

    tokens: the largest of 512, 1024, 2048, 4096 with tokens <= 4 w and tokens * 64 w bytes <= 2 % of the memory
    logits: the largest power of two of bytes up to 2 % of the memory, at least 64 MiB and at most 1 GiB

w is the width of the hidden states, the memory a GPU's. A layer's 12 w^2 weights cost a token 24 w^2 operations, its
attention to T tokens, most of them masked, 4 T w: at T = 4 w that is 40 % of all. 64 w bytes a token hold what a layer
without gradients has at its peak, 3 times 3.5 w of its MLP and 5 w of the rest in fp32. A mask of 4096 x 4096 takes
64 MiB in fp32. On a CPU 512 tokens and 64 MiB stay: measured on two cores, where more costs time.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from eval_hooks.ranks import from_all, place

MIB, GIB = 2**20, 2**30
TOKENS = (512, 1024, 2048, 4096)
LEAST_LOGITS, MOST_LOGITS = 64 * MIB, GIB
SHARE = 0.02
"""Of a GPU's memory: 1.6 of 80 GiB. No usual size of a card makes it just more than a power of two."""
BYTES_A_WIDTH = 64
ON_CPU = "measured on a CPU, where more tokens only add attention that is masked"


@dataclass(frozen=True, kw_only=True)
class PassSize:
    """What one pass takes at once, and why."""

    tokens: int = TOKENS[0]
    """Of all texts together; a longer text is a pass of its own."""
    logit_bytes: int = LEAST_LOGITS
    """Of fp32 logits that are held at a time."""
    reason: str = ON_CPU

    def places(self, vocabulary: int) -> int:
        """Scored places of one pass, so that their logits take no more whatever the vocabulary."""
        return max(1, self.logit_bytes // (4 * vocabulary))


def pass_size(memory: int, width: int) -> PassSize:
    """For a model of this width on a GPU with so much memory, in bytes, for all that a process does; 0: on a CPU."""
    if not memory:
        return SMALLEST
    room = SHARE * memory
    fitting = [n for n in TOKENS if n <= 4 * width and n * BYTES_A_WIDTH * width <= room]
    logits = LEAST_LOGITS
    while 2 * logits <= min(room, MOST_LOGITS):
        logits *= 2
    return PassSize(
        tokens=max(fitting, default=TOKENS[0]),
        logit_bytes=logits,
        reason=f"width {width}; {SHARE:.0%} of {memory / GIB:.1f} GiB, as much again for {logits // MIB} MiB of logits",
    )


def size_for(model: Any) -> PassSize:
    """For a model where it is; the ranks take what suits the smallest of their GPUs."""
    memory = min(from_all({place()[0]: gpu_memory(model.device)}).values())
    return pass_size(memory, getattr(model.config.get_text_config(), "hidden_size", 0))


def gpu_memory(device: Any) -> int:
    """Bytes of a GPU that are free or this process's already: the same before and after a model is loaded; else 0."""
    import torch

    if device.type != "cuda":
        return 0
    return int(torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device))


SMALLEST = PassSize()
_SIZE: ContextVar[PassSize] = ContextVar("_SIZE", default=SMALLEST)


@contextmanager
def sized(size: PassSize) -> Iterator[None]:
    """Inside, passes are as large as this where nobody says otherwise."""
    before = _SIZE.set(size)
    try:
        yield
    finally:
        _SIZE.reset(before)


def current() -> PassSize:
    """How large passes are here."""
    return _SIZE.get()
