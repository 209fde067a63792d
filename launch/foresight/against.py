"""Estimate against measurement, and the time that follows from a measured step."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from launch.foresight.time import share
from trainers.machine import own_machine
from trainers.memory.foresee import Foresight, setup_of
from trainers.memory.states import Machines
from trainers.memory.text import aligned, duration, size


def estimates(foresight: Foresight, found: Mapping[str, Any]) -> dict[str, float]:
    """Bytes of the parts of the measured run, foreseen for one rank and the batch that it had."""
    rows, length = largest(found)
    on_gpu = found["parts"]["step"]["gpu"] is not None
    recipe, micro = foresight.recipe, foresight.batch().rows // foresight.steps[0]
    spare = 0 if on_gpu else found["baseline"]
    recipe = replace(recipe, train={**recipe.train, **found["chosen"]})
    alone = Foresight(recipe, Machines(ranks=1), foresight.tokenizer, spare, own_machine(use_cpu=not on_gpu))
    row = alone.row(setup_of(recipe), alone.outline, alone.batch(max(1, rows // micro), length))
    held, always = row.states, spare + row.reference + row.vllm
    return {
        "load": always + held.parameters,
        "evaluation": always + held.parameters + row.evaluation,
        "step": always + held.total + row.taken_in_turns,
        "save": always + held.parameters + held.optimizer,
    }


def largest(found: Mapping[str, Any]) -> tuple[int, int]:
    """(rows, tokens) of the largest batch that was measured."""
    rows, length = max(found["shapes"], key=lambda pair: pair[0] * pair[1])
    return rows, length


def lines(foresight: Foresight, found: Mapping[str, Any]) -> Iterator[str]:
    """Each part's estimate and measurement, then speed and time on this machine."""
    estimated, parts = estimates(foresight, found), found["parts"]
    rows, length = largest(found)
    on_gpu = parts["step"]["gpu"] is not None
    taken = {name: part["gpu" if on_gpu else "rss"] for name, part in parts.items()}
    kind = "GPU memory" if on_gpu else f"resident memory, {size(found['baseline'])} of it before any model"
    yield f"measured  here, one process, {rows} x {length} tokens at once; {kind}"
    ratios = {name: guess / taken[name] for name, guess in estimated.items()}
    body = [(name, duration(parts[name]["seconds"]), size(guess), size(taken[name]), f"{ratios[name]:.2f}")
            for name, guess in estimated.items()]  # fmt: skip
    top = max(estimated.values()), max(taken.values())
    peak = ("peak", "", size(top[0]), size(top[1]), f"{top[0] / top[1]:.2f}")
    yield from aligned([("part", "took", "estimated", "measured", "ratio"), *body, peak])
    yield from _time(foresight, found)


def _time(foresight: Foresight, found: Mapping[str, Any]) -> Iterator[str]:
    recipe, parts = foresight.recipe, found["parts"]
    step, tokens = parts["step"]["seconds"], sum(rows * length for rows, length in found["shapes"])
    steps = recipe.train.get("max_steps", -1)
    if steps <= 0:
        per_step = recipe.global_batch_size or math.prod(foresight.steps)
        steps = math.ceil(found["manifest"]["mix"]["packed_rows"] / per_step * recipe.train.get("num_train_epochs", 3))
    yield f"speed     {tokens / step:,.0f} tokens a second here, padding included; a checkpoint: {size(found['disk'])}"
    yield f"time      {steps} steps, {duration(steps * step)} of training on this machine"
    yield share(foresight, steps, steps * step, parts["evaluation"]["seconds"])
