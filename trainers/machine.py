"""What a recipe may leave to the machine: precision, recomputed activations, the size of an evaluation's passes.

What the recipe says always wins. All ranks take what suits the weakest of them, on whatever machines they are; a run
that is gone on with keeps the precision it began with.
"""

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eval_hooks.files import read_json
from eval_hooks.ranks import from_all, from_writer, on_writer, place
from eval_hooks.scoring.pass_size import PassSize, gpu_memory, pass_size
from trainers import announce
from trainers.recipe import Recipe
from trainers.world import world_size

if TYPE_CHECKING:
    from trainers.memory.foresee import Foresight

SAYS = "the recipe says so"
NATIVE = ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16")
"""What torch calls a CPU's own products of bf16 numbers: two of x86, two of ARM."""


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What every rank has, where a run takes place or is planned."""

    gpu: str = ""
    """Name of the card; empty: ranks compute on CPUs."""
    bf16: bool
    """Whether it multiplies bf16 numbers itself; else software does, or fp32's units."""
    memory: int = 0
    """Bytes of a GPU that a rank may take."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What is done, and why."""

    value: Any
    reason: str


Chosen = Mapping[str, Choice]
"""bf16, activation_checkpointing, batch_tokens, logit_bytes -> what was chosen."""


def own_machine(use_cpu: bool = False) -> Machine:
    """This process's."""
    import torch

    if use_cpu or not torch.cuda.is_available():
        return Machine(bf16=multiplies_bf16(torch.cpu.get_capabilities(), sys.platform))
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
    card = torch.cuda.get_device_properties(device)
    own = bool(torch.version.hip) or card.major >= 8  # torch's is_bf16_supported counts software in
    return Machine(gpu=card.name, bf16=own, memory=gpu_memory(device))


def planned(recipe: Recipe, room: int) -> Machine:
    """What a recipe is planned for: GPUs with so much memory and bf16 of their own, or this machine's CPU."""
    use_cpu = recipe.train.get("use_cpu", False)
    return own_machine(use_cpu=True) if use_cpu else Machine(gpu="a GPU of today", bf16=True, memory=room)


def multiplies_bf16(capabilities: Mapping[str, Any], system: str) -> bool:
    """Whether a CPU with torch's `capabilities` does; on a Mac torch has no such products, whatever the chip has."""
    return system != "darwin" and any(capabilities.get(name) for name in NATIVE)


def weakest(machines: Mapping[int, Machine]) -> Machine:
    """What all ranks have, by rank."""
    return Machine(
        gpu=machines[0].gpu,
        bf16=all(one.bf16 for one in machines.values()),
        memory=min(one.memory for one in machines.values()),
    )


def machine_of_all(recipe: Recipe) -> Machine:
    """What all ranks of the run have. Called on every rank."""
    return weakest(from_all({place()[0]: own_machine(recipe.train.get("use_cpu", False))}))


def bf16(train: Mapping[str, Any], machine: Machine, began: bool | None = None) -> Choice:
    """Whether products are taken in bf16, over fp32 weights; `began`: what the run that is gone on with had."""
    if "bf16" in train:
        return Choice(value=bool(train["bf16"]), reason=SAYS)
    if train.get("fp16"):
        return Choice(value=False, reason="the recipe asks for fp16")
    own = Choice(value=machine.bf16, reason=_of_machine(machine))
    if began is None or began == own.value:
        return own
    return Choice(value=began, reason=f"as the run began; by itself it would be {str(own.value).lower()}: {own.reason}")


def _of_machine(machine: Machine) -> str:
    if machine.bf16:
        return f"{machine.gpu or 'this CPU'} has bf16 of its own"
    if machine.gpu:
        return f"{machine.gpu} has no bf16 of its own; train.fp16=true is faster than fp32, for a model that bears it"
    return "this CPU has no bf16 of its own; in software it takes several times as long as fp32"


def said_of_checkpointing(train: Mapping[str, Any]) -> bool | None:
    """What a recipe says of it, under either name; None: nothing."""
    said = train.get("activation_checkpointing", train.get("gradient_checkpointing"))
    return None if said is None else bool(said)


def checkpointing(recipe: Recipe, machine: Machine, foresight: "Callable[[], Foresight]") -> Choice:
    """Whether activations are computed anew in the backward pass: where a GPU is foreseen to be short without that."""
    said = said_of_checkpointing(recipe.train)
    if said is not None:
        return Choice(value=said, reason=SAYS)
    if not machine.gpu:
        return Choice(value=False, reason="on a CPU it costs time and saves nothing worth having")
    try:
        return foresight().own_checkpointing
    except Exception as error:  # whatever a model's own code does with tensors that have no data
        return Choice(value=True, reason=f"memory could not be foreseen ({type(error).__name__})")


def size_of_passes(recipe: Recipe, machine: Machine) -> PassSize:
    """Of the run's evaluations."""
    from trainers.models import load_config

    width = getattr(load_config(recipe.model).get_text_config(), "hidden_size", 0) if machine.gpu else 0
    return pass_size(machine.memory, width)


def choose(
    recipe: Recipe, machine: Machine, foresight: "Callable[[], Foresight]", began: bool | None = None
) -> dict[str, Choice]:
    """All of it, for a run on this machine or for one that is planned."""
    size = size_of_passes(recipe, machine)
    return {
        "bf16": bf16(recipe.train, machine, began),
        "activation_checkpointing": checkpointing(recipe, machine, foresight),
        "batch_tokens": Choice(value=size.tokens, reason=size.reason),
        "logit_bytes": Choice(value=size.logit_bytes, reason=size.reason),
    }


def passes_of(chosen: Chosen) -> PassSize:
    """The size of an evaluation's passes among it."""
    tokens, logits = chosen["batch_tokens"], chosen["logit_bytes"]
    return PassSize(tokens=tokens.value, logit_bytes=logits.value, reason=tokens.reason)


def as_data(chosen: Chosen) -> dict[str, dict[str, Any]]:
    """As environment.json has it."""
    return {name: asdict(one) for name, one in chosen.items()}


def choose_here(recipe: Recipe, begun: Path | None = None) -> dict[str, Choice]:
    """For a run of these ranks, gone on with where a folder has `begun`. Called on every rank; rank 0 decides."""
    machine = machine_of_all(recipe)
    chosen = from_writer(on_writer(lambda: choose(recipe, machine, lambda: _foresight(recipe, machine), had(begun))))
    assert chosen is not None
    return chosen


def had(begun: Path | None) -> bool | None:
    """Whether the run in a folder computes in bf16; None where nothing says so."""
    arguments = read_json(begun / "recipe.resolved.json").get("arguments") if begun else None
    value = arguments.get("bf16") if isinstance(arguments, dict) else None
    return value if isinstance(value, bool) else None


def _foresight(recipe: Recipe, machine: Machine) -> "Foresight":
    from trainers.memory.foresee import CUDA, Foresight
    from trainers.memory.states import Machines
    from trainers.models import load_tokenizer

    per_node = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    machines = Machines(ranks=world_size(), per_node=per_node)
    return Foresight(recipe, machines, load_tokenizer(recipe.model), CUDA, machine)


def lines(chosen: Chosen) -> list[str]:
    """As a run's first screen and a plan have them."""
    said = {name: f"{str(one.value).lower()}: {one.reason}" for name, one in chosen.items() if name != "logit_bytes"}
    return [f"machine   {name} {text}" for name, text in said.items()]


def say(chosen: Chosen) -> None:
    """On the first screen of a run."""
    for line in lines(chosen):
        announce(line)
