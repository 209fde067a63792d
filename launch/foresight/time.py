"""Time to finish, evaluation's share of it, and the same work on more GPUs; all by arithmetic, assumptions printed."""

import math
from collections.abc import Iterator
from typing import Any

from trainers.arguments import setting
from trainers.memory.asked import Asked, asked
from trainers.memory.foresee import Foresight
from trainers.memory.pace import Speed, forward_flops, sending_seconds, sent_bytes, training_flops
from trainers.memory.rollouts import words, writing_seconds
from trainers.memory.states import SETUPS
from trainers.memory.text import aligned, duration, size

RANKS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


def foreseen(foresight: Foresight, speed: Speed, tokenizer: Any) -> Iterator[str]:
    """A step, all steps, the evaluations; each with what it assumes."""
    seconds, steps = step_seconds(foresight, speed), foresight.recipe.train.get("max_steps", -1)
    assumed = f"{speed.tflops:g} TFLOP/s a GPU x MFU {speed.mfu:g}, every row of {foresight.length} tokens"
    asked_for = foresight.written
    if asked_for:
        written = rollout_seconds(foresight, speed)
        for line in words(asked_for, foresight.vllm, foresight.recipe, speed):
            yield f"rollouts  {line}"
        yield f"step      {duration(seconds)}, {duration(written)} of it for writing (assumed: {assumed})"
    else:
        yield f"step      {duration(seconds)} (assumed: {assumed})"
    if steps <= 0:
        yield "time      the recipe counts epochs and no rows are read here; write train.max_steps, or add --measure"
        return
    yield f"time      {steps} steps, {duration(steps * seconds)} of training"
    try:
        found = asked(foresight.recipe, tokenizer, foresight.counts.window)
    except (ValueError, OSError, ImportError) as error:
        yield f"eval      cannot be counted: {str(error).splitlines()[0]}"
        return
    yield share(foresight, steps, steps * seconds, evaluation_seconds(foresight, found, speed))


def rollout_seconds(foresight: Foresight, speed: Speed) -> float:
    """Of writing the answers of one optimizer step; 0 where they are given."""
    asked_for = foresight.written
    each = 2 if foresight.bf16 or setting(foresight.recipe, "use_vllm") else 4
    return writing_seconds(asked_for, foresight.counts, each, speed) if asked_for else 0.0


def step_seconds(foresight: Foresight, speed: Speed) -> float:
    """Of one optimizer step, and of the answers it is trained on."""
    return rollout_seconds(foresight, speed) + training_seconds(foresight, speed)


def training_seconds(foresight: Foresight, speed: Speed) -> float:
    """Of forward and backward passes."""
    batch, (_, parts) = foresight.batch(), foresight.steps
    each = training_flops(foresight.counts, foresight.length, batch.checkpointing, foresight.compares)
    return batch.rows * batch.length * parts * each / (speed.tflops * 1e12 * speed.mfu)


def evaluation_seconds(foresight: Foresight, found: Asked, speed: Speed) -> float:
    """Of one whole evaluation, shared out over the ranks; a token that is written costs reading all weights once."""
    counts = foresight.counts
    read = found.read * forward_flops(counts, 1024) / (speed.tflops * 1e12 * speed.mfu)
    each = 2 if foresight.bf16 else 4
    return (read + found.written * counts.total * each / speed.memory) / foresight.machines.ranks


def share(foresight: Foresight, steps: int, training: float, each: float) -> str:
    """How often is measured, how long it takes, and its share of the training time."""
    from eval_hooks.control.schedule import period_of

    every = foresight.recipe.eval.every
    period = period_of(every, steps)
    times = 2 + ((steps - 1) // period if period else 0)
    more = f", {duration(times * each)} in all, {times * each / training:.0%} of training's" if training else ""
    epochs = "; those after epochs not counted" if every == "epoch" else ""
    return f"eval      {times} evaluations of {duration(each)}{more}{epochs}"


def scaling(foresight: Foresight, speed: Speed) -> Iterator[str]:
    """The same work for each GPU on more of them: bytes that each sends in a step, and the share of speed that is left.

    Two bounds: nothing is sent while GPUs compute, and as much as possible is.
    """
    machines, counts, (_, parts) = foresight.machines, foresight.counts, foresight.steps
    precision = foresight.precision(foresight.outline)
    seconds = step_seconds(foresight, speed)
    yield (
        f"scaling   on paper, {parts} micro-batches a step on each GPU; assumed: {speed.in_node / 1e9:g} GB/s inside a "
        f"machine of {machines.per_node}, {speed.between / 1e9:g} GB/s between; sent by each in a step, speed kept "
        "without and with overlap"
    )
    chosen = [setup for setup in SETUPS if not setup.offload]
    rows = [["GPUs", *(setup.name for setup in chosen)]]
    for ranks in (*(n for n in RANKS if n < machines.ranks), machines.ranks):
        cells = []
        for setup in chosen:
            sent = sent_bytes(setup, counts, ranks, parts, precision.trained, precision.engine)
            waiting = sending_seconds(sent, ranks, machines.per_node, speed)
            apart, over = seconds / (seconds + waiting), seconds / max(seconds, waiting)
            cells.append(f"{size(sent)}, {math.floor(100 * apart)}-{math.floor(100 * over)} %")
        rows.append([str(ranks), *cells])
    yield from aligned(rows, left=0)
