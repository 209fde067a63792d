"""Memory of each set-up, where the numbers come from, and which set-up to choose."""

from collections.abc import Iterator, Sequence

from trainers.memory.foresee import Advice, Foresight, Row, settings
from trainers.memory.rollouts import PROMPT
from trainers.memory.states import SETUPS
from trainers.memory.text import GIB, MIB, aligned, number, size

HEADINGS = ("trained", "set-up", "weights", "grads", "optimizer", "reference", "activations", "evaluation", "rollouts",
            "vLLM", "total", "fits", "recomputed", "host")  # fmt: skip


def table(foresight: Foresight, rows: Sequence[Row], room: int) -> Iterator[str]:
    """A line a set-up: memory of each GPU, and each machine's own where something is offloaded."""
    what = "GPU" if foresight.on_gpu else "rank"
    unit = GIB if max(row.total for row in rows) > GIB else MIB
    ranks = foresight.machines.ranks
    yield f"memory    of each {what} in {'GiB' if unit == GIB else 'MiB'}, {ranks} of them with {size(room)}"
    cells = [HEADINGS, *(_cells(row, room, unit) for row in rows)]
    unused = ("reference", "rollouts", "vLLM", "recomputed", "host")
    kept = [i for i, heading in enumerate(HEADINGS) if heading not in unused
            or any(row[i] not in ("0", "") for row in cells[1:])]  # fmt: skip
    yield from aligned([[row[i] for i in kept] for row in cells], left=2)


def _cells(row: Row, room: int, unit: int) -> tuple[str, ...]:
    held = row.states
    parts = (held.parameters, held.gradients, held.optimizer, row.reference, row.activations, row.evaluation,
             row.rollouts, row.vllm, row.total)  # fmt: skip
    kind = "all" if row.kind == "none" else row.kind
    fits = "yes" if row.fits(room) else "refused" if row.refused else "no"
    host = number(held.host / unit) if held.host else ""
    anew = "yes" if row.checkpointing else ""
    return (kind, row.setup.name, *(number(part / unit) for part in parts), fits, anew, host)


def sources(foresight: Foresight, rows: Sequence[Row]) -> Iterator[str]:
    """What the numbers are made of, and what they assume."""
    counts, batch = foresight.counts, foresight.batch()
    micro, parts = foresight.steps
    yield (
        f"counted   {counts.total / 1e6:,.1f}M parameters of the model, {counts.trained / 1e6:,.2f}M trained, from its "
        "configuration alone"
    )
    shared = f" {foresight.shared} that share them" if foresight.shared > 1 else ""
    texts = f", {batch.rows // micro} texts each" if batch.rows > micro else ""
    prompts = f"; prompts taken to have {PROMPT} tokens" if foresight.written else ""
    how = (
        f"{'bf16' if foresight.bf16 else '32 bits'}, activation checkpointing {'on' if batch.checkpointing else 'off'}"
    )
    longest = f"{foresight.length} tokens{texts}{prompts}"
    yield f"batch     {micro} x {parts} rows a step on each{shared}, of at most {longest}; {how}"
    by_source: dict[str, list[str]] = {}
    for row in rows[: len(SETUPS)]:
        by_source.setdefault(row.states.source, []).append(row.setup.name)
    for source, names in by_source.items():
        yield f"source    weights, grads, optimizer of {', '.join(names)}: {source}"
    yield "source    activations, evaluation: every tensor of a forward and backward pass is counted"
    spare = "for CUDA, NCCL and gaps, assumed" if foresight.on_gpu else "there before any model, measured now"
    turns = "take turns" if foresight.on_gpu else "add up, since malloc keeps what an evaluation took"
    yield f"source    total: with {size(foresight.spare)} {spare}; activations, evaluation and rollouts {turns}"


def advice(foresight: Foresight, found: Advice | None, room: int) -> str:
    """The words to add to the recipe."""
    if found is None:
        return (
            "choose    nothing fits; a LoRA with train.per_device_train_batch_size=1 and a smaller train.max_length, "
            "or more GPUs"
        )
    taken = f"{size(found.row.total)} of {size(room)}"
    return f"choose    {settings(foresight, found)}: {taken}, the cheapest set-up that fits"
