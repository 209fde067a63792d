"""The longest rows: one micro-batch of them forward and backward, so that memory runs out now and not at night."""

import math
import time
from typing import Any

from launch.findings import Finding, bad, ok
from launch.preflight.subject import MANY, Subject, batches

GIB = 2**30


def check(subject: Subject) -> list[Finding]:
    """Every row of the micro-batch is the longest one of its kind; loss and gradient must be numbers."""
    rows, length = longest(subject)
    trainer = subject.trainer(rows, subject.arguments())
    begin = time.monotonic()
    samples, items = batches(trainer, 1)
    with trainer.accelerator.autocast():
        loss = trainer.training_step(trainer.model, samples[0], items).item()
    norm = math.sqrt(sum(float(p.grad.float().norm()) ** 2 for p in trainer.model.parameters() if p.grad is not None))
    trainer.model.zero_grad()
    took = f"{time.monotonic() - begin:.0f} s, {peak()}"
    size = trainer.args.per_device_train_batch_size
    text = f"{size} rows of {length}: loss {loss:.3g}, gradient norm {norm:.3g}, {took}"
    if not (math.isfinite(loss) and math.isfinite(norm)):
        return [bad(text, "model.dtype: float32 tells whether it is the type; else look at that row: temper data")]
    return [ok(text)]


def longest(subject: Subject) -> tuple[Any, str]:
    """(the longest row of each kind, as often as a batch may need it; its length in words)."""
    mix, arguments = subject.mix.train, subject.arguments()
    sizes = [size(subject, row) for row in mix.select(range(min(len(mix), MANY)))]
    chosen = subject.first_of_each_kind(sorted(range(len(sizes)), key=lambda i: -sizes[i]), 1)
    often = arguments.per_device_train_batch_size * arguments.gradient_accumulation_steps
    told = bool(subject.form.labelled(mix[chosen[0]]))
    return mix.select(chosen * often), f"{max(sizes)} {'tokens' if told else 'characters'}"


def size(subject: Subject, row: dict[str, Any]) -> int:
    """Tokens of a row's texts; of a prompt its characters."""
    return sum(len(ids) for ids, _ in subject.form.labelled(row)) or len(str(row["prompt"]))


def peak() -> str:
    """Memory in use, in words: the GPU's peak, or the process's."""
    import psutil
    import torch

    if torch.cuda.is_available():
        return f"{torch.cuda.max_memory_allocated() / GIB:.1f} GiB of the GPU's memory at most, without the optimizer"
    return f"{psutil.Process().memory_info().rss / GIB:.1f} GiB of memory, without the optimizer's"
