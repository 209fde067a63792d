"""`temper plan`, top to bottom."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from launch.foresight import against, memory, time
from launch.foresight.child import measure
from launch.plan import plan
from launch.start import ranks_of
from trainers import TrainError
from trainers.arguments import setting
from trainers.keeping import disk
from trainers.machine import choose, planned
from trainers.machine import lines as machine_lines
from trainers.memory.baseline import baseline
from trainers.memory.foresee import CUDA, Foresight, advise
from trainers.memory.pace import Speed
from trainers.memory.states import Machines
from trainers.models import load_tokenizer
from trainers.recipe import Recipe
from trainers.sequence import check_shared

PER_NODE = 8
"""GPUs of a machine, where only their number is said."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What `temper plan` was asked."""

    name: str
    words: Sequence[str]
    machines: Machines
    room: int
    """Bytes of each GPU."""
    speed: Speed
    measure: bool = False
    plugins: bool = True


def machines_of(recipe: Recipe, gpus: int | None, per_node: int | None) -> Machines:
    """As the options say; where they are silent, as `temper launch` would start the recipe."""
    if gpus is not None:
        return Machines(ranks=gpus, per_node=per_node or PER_NODE)
    ranks = ranks_of(recipe)
    return Machines(ranks=ranks, per_node=per_node or max(1, ranks // recipe.launch.nnodes))


def lines(recipe: Recipe, request: Request) -> Iterator[str]:
    """The plan's lines, as they become known.

    Raises TrainError or RecipeError for what cannot be planned, or measured.
    """
    tokenizer = load_tokenizer(recipe.model)
    yield plan(recipe)
    machine = planned(recipe, request.room)
    check_shared(recipe, request.machines.ranks, setting(recipe, "max_length"), bool(machine.gpu))
    spare = CUDA if machine.gpu else baseline(recipe)
    foresight = Foresight(recipe, request.machines, tokenizer, spare, machine)
    yield "\n".join(machine_lines(choose(recipe, machine, lambda: foresight)))
    rows = list(foresight.rows())
    yield from memory.table(foresight, rows, request.room)
    yield from memory.sources(foresight, rows)
    yield memory.advice(foresight, advise(foresight, rows, request.room), request.room)
    yield from time.foreseen(foresight, request.speed, tokenizer)
    yield disk_words(foresight)
    yield from time.scaling(foresight, request.speed)
    if request.measure:
        yield from against.lines(foresight, measure(request.name, request.words, plugins=request.plugins))


def disk_words(foresight: Foresight) -> str:
    """What checkpoints take, as the run itself will say it."""
    with foresight.outline.model(foresight.outline.dtype) as model:
        try:
            return f"disk      {disk(foresight.recipe, model, Path.cwd(), foresight.bf16)}"
        except TrainError as error:
            return f"disk      {error}"
