"""The global batch: how it is made up, and whether the rows fill one."""

import os

from launch.findings import Finding, bad, ok, warn
from launch.preflight.schedule import length
from launch.preflight.subject import Subject
from trainers.arguments import accumulation

OFTEN = 10
"""Epochs from which a run mostly learns by heart."""


def check(subject: Subject) -> list[Finding]:
    """Micro-batch x accumulation x ranks; raises TrainError for what does not divide."""
    recipe, n = subject.recipe, ranks(subject)
    arguments = subject.arguments()
    micro, parts = arguments.per_device_train_batch_size, arguments.gradient_accumulation_steps
    if recipe.global_batch_size is not None:
        made = accumulation(recipe.global_batch_size, recipe.train.get("per_device_train_batch_size"), n)
        micro, parts = made["per_device_train_batch_size"], made["gradient_accumulation_steps"]
    size = micro * parts * n
    text = f"{size} = {micro} a micro-batch x {parts} accumulated x {n} rank{'s' if n > 1 else ''}"
    rows = subject.stage.epoch(subject.mix.train, arguments)
    if rows < size:
        return [bad(f"{text}, and the mix has {rows:,}", f"train.global_batch_size={rows}, or more rows")]
    steps = length(subject)
    epochs = steps.steps * size / rows if steps and n == 1 else None
    if epochs and epochs > OFTEN and subject.form.labelled(subject.mix.train[0]):
        return [warn(f"{text}; every row is seen {epochs:.0f} times", "more rows, or fewer steps: train.max_steps")]
    return [ok(text + (f"; {rows:,} in the mix" + (f", seen {epochs:.2g} times" if epochs else "")))]


def ranks(subject: Subject) -> int:
    """Ranks of the run: the launcher's, else what `launch.nproc` asks for."""
    asked = subject.recipe.launch.nproc
    if "WORLD_SIZE" in os.environ:
        return int(os.environ["WORLD_SIZE"])
    if isinstance(asked, int):
        return asked
    import torch

    return max(1, torch.cuda.device_count())
