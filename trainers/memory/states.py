"""Weights, gradients and optimizer state of each set-up, in bytes per GPU, and in the host's memory per machine.

With 16-bit weights ZeRO-2, ZeRO-3 and offload are what DeepSpeed's own estimators say of the trained parameters
(`estimate_zero2_model_states_mem_needs`, `estimate_zero3_model_states_mem_needs`). They know no ZeRO-1, no fp32 and no
frozen weights; there it is the arithmetic of ZeRO (Rajbhandari et al. 2020, arXiv:1910.02054, section 3.1) on the same
terms: weights 2 bytes, gradients 2, and fp32 copies of gradients (4), weights (4) and Adam's moments (8), of which a
stage shares out the optimizer's part (1), the gradients too (2), the weights too (3).
"""

import os
from dataclasses import dataclass

import torch

from trainers.memory.outline import NF4_BYTES, Counts

ADAM = 8
"""Bytes of a parameter's two moments in fp32, as DeepSpeed's estimators have them."""
HOST_FACTOR = 1.5
"""DeepSpeed's allowance for buffers in the host's memory."""


@dataclass(frozen=True, kw_only=True)
class Setup:
    """One way to lay a training out over GPUs."""

    name: str
    """That of a file in recipes/deepspeed/; `none` is plain data parallelism."""
    stage: int = 0
    offload: bool = False
    """Optimizer state (stage 3: weights too) lies in the host's memory."""


SETUPS = (
    Setup(name="none"),
    Setup(name="zero1", stage=1),
    Setup(name="zero2", stage=2),
    Setup(name="zero3", stage=3),
    Setup(name="zero2-offload", stage=2, offload=True),
    Setup(name="zero3-offload", stage=3, offload=True),
)
"""From the cheapest to the slowest."""


@dataclass(frozen=True, kw_only=True)
class Machines:
    """Ranks, and how many share a machine."""

    ranks: int
    per_node: int = 8

    @property
    def nodes(self) -> int:
        """Machines."""
        return -(-self.ranks // self.per_node)

    @property
    def on_one(self) -> int:
        """Ranks of one machine."""
        return min(self.ranks, self.per_node)


@dataclass(frozen=True, kw_only=True)
class Precision:
    """Bytes of a number, as the run has it."""

    frozen: int
    """Of a weight that is not trained."""
    trained: int
    """Of a weight that is, without DeepSpeed."""
    engine: int
    """Of a weight under DeepSpeed: 2 where its bf16 engine is on."""
    four_bits: bool = False
    """qlora: frozen linear weights are packed."""
    state: float = ADAM
    """Of the optimizer's state, a parameter, without DeepSpeed."""
    copied: float = ADAM
    """The same beside DeepSpeed's fp32 copy."""


@dataclass(frozen=True, kw_only=True)
class States:
    """Bytes on each GPU, and in each machine's own memory."""

    parameters: float
    gradients: float
    optimizer: float
    host: float = 0
    source: str
    """Whose numbers these are."""

    @property
    def total(self) -> float:
        """On the GPU."""
        return self.parameters + self.gradients + self.optimizer


def states(setup: Setup, counts: Counts, machines: Machines, precision: Precision) -> States:
    """What a set-up keeps all the time."""
    if setup.stage == 0:
        return _plain(counts, machines, precision)
    if precision.engine == 2 and setup.stage > 1:
        return _estimated(setup, counts, machines, precision)
    return _shared_out(setup, counts, machines, precision)


def _frozen(counts: Counts, each: int, precision: Precision) -> float:
    packed = counts.linear * NF4_BYTES if precision.four_bits else counts.linear * each
    return packed + (counts.frozen - counts.linear) * each


def _plain(counts: Counts, machines: Machines, precision: Precision) -> States:
    """Everything on every GPU; torch's DistributedDataParallel keeps the gradients a second time, in buckets."""
    gradients = counts.trained * precision.trained * (2 if machines.ranks > 1 else 1)
    return States(
        parameters=_frozen(counts, precision.frozen, precision) + counts.trained * precision.trained,
        gradients=gradients,
        optimizer=counts.trained * precision.state,
        source="counted",
    )


def _estimated(setup: Setup, counts: Counts, machines: Machines, precision: Precision) -> States:
    """DeepSpeed's estimate of the trained parameters, and the frozen ones beside it."""
    if not torch.cuda.is_available():
        os.environ.setdefault("DS_ACCELERATOR", "cpu")  # else DeepSpeed says on standard output that it chose it
    from deepspeed.runtime.zero.stage3 import estimate_zero3_model_states_mem_needs as zero3
    from deepspeed.runtime.zero.stage_1_and_2 import estimate_zero2_model_states_mem_needs as zero2

    trained, ranks, offload = counts.trained, machines.ranks, setup.offload
    where = {"num_gpus_per_node": machines.on_one, "num_nodes": machines.nodes, "cpu_offload": offload}
    frozen = _frozen(counts, 2, precision)
    host = 0.0
    if setup.stage == 2:
        source = zero2.__name__
        host, gpu = zero2(trained, **where)
        parameters = 2.0 * trained + frozen
        states_of = gpu - 2 * trained
    else:
        source = zero3.__name__
        host, gpu, gathered = zero3(trained, counts.largest, cpu_offload_params=offload, **where)
        kept = 0.0 if offload else (2 * trained + frozen) / ranks
        parameters = gathered + kept
        states_of = gpu - gathered - (0 if offload else 2 * trained / ranks)
        host += HOST_FACTOR * frozen / machines.nodes if offload else 0
    moments = 0.0 if offload else (4 + ADAM) * trained / ranks
    return States(
        parameters=parameters,
        gradients=max(0.0, states_of - moments),
        optimizer=moments - (0 if offload else (ADAM - precision.copied) * trained / ranks),
        host=host if offload else 0.0,
        source=source,
    )


def _shared_out(setup: Setup, counts: Counts, machines: Machines, precision: Precision) -> States:
    """The arithmetic of ZeRO, with weights of `precision.engine` bytes and fp32 master weights and moments."""
    each, ranks, trained = precision.engine, machines.ranks, counts.trained
    frozen = _frozen(counts, each, precision)
    moments = (4 + precision.copied) * trained
    fp32_gradients = 4 * trained if each == 2 else 0
    whole, part = (each * trained, fp32_gradients) if setup.stage == 1 else (0, each * trained + fp32_gradients)
    weights = each * trained + frozen
    gathered = 4 * counts.largest if setup.stage == 3 else 0
    if setup.offload:
        held = weights if setup.stage == 3 else 0
        on_host = HOST_FACTOR * (moments + whole + part + held) / machines.nodes
        return States(
            parameters=gathered or weights, gradients=0, optimizer=0, host=on_host, source="ZeRO's arithmetic"
        )
    return States(
        parameters=gathered + (weights / ranks if setup.stage == 3 else weights),
        gradients=whole + part / ranks,
        optimizer=moments / ranks,
        source="ZeRO's arithmetic",
    )
