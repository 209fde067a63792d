"""How long a run takes: operations of a token over what a GPU does, and what GPUs send each other meanwhile."""

from dataclasses import dataclass

from trainers.memory.outline import Counts
from trainers.memory.states import Setup


@dataclass(frozen=True, kw_only=True)
class Speed:
    """What is assumed of the machine; printed with every number that follows from it."""

    tflops: float = 312.0
    """Peak of one GPU in 10^12 operations a second: an A100's in bf16."""
    mfu: float = 0.4
    """Share of it that training reaches (model FLOPs utilisation)."""
    in_node: float = 200e9
    """Bytes a second between GPUs of one machine, each."""
    between: float = 25e9
    """Bytes a second between machines, each GPU (200 Gbit/s)."""
    memory: float = 1.5e12
    """Bytes a second a GPU reads while it writes text: a token costs reading all weights once."""


def forward_flops(counts: Counts, length: int) -> float:
    """Operations of one token's forward pass: 2 a weight, and 4 L h s for attention (Chowdhery et al. 2022, App. B)."""
    return 2.0 * counts.total + 4.0 * counts.layers * counts.hidden * length


def training_flops(counts: Counts, length: int, checkpointing: bool, reference: bool = False) -> float:
    """Of one trained token: forward, backward (2 forwards; 1 where weights are frozen), a forward anew, a reference."""
    forwards = 2 + counts.trained / max(1, counts.total) + checkpointing + reference
    return forwards * forward_flops(counts, length)


def sent_bytes(setup: Setup, counts: Counts, ranks: int, micro_batches: int, weight: int, engine: int) -> float:
    """Bytes each GPU sends in an optimizer step (Rajbhandari et al. 2020, section 7; a ring moves (N - 1) / N of it).

    Plain and ZeRO-1: gradients are summed over the ranks, 2 x. ZeRO-2: scattered in each micro-batch and the weights
    gathered at the end. ZeRO-3: weights gathered for forward and backward and gradients scattered in each micro-batch.
    `weight` and `engine` are bytes of a number, without and with DeepSpeed.
    """
    ring = (ranks - 1) / ranks
    trained, every = counts.trained, counts.trained + counts.frozen
    volume = {
        0: 2 * trained * weight,
        1: 2 * trained * engine,
        2: (micro_batches + 1) * trained * engine,
        3: micro_batches * (2 * every + trained) * engine,
    }[setup.stage]
    return ring * volume


def sending_seconds(volume: float, ranks: int, per_node: int, speed: Speed) -> float:
    """As long as the slowest link takes."""
    return volume / (speed.in_node if ranks <= per_node else speed.between)
