"""The global batch: how it is made up, and whether the rows fill one."""

from launch.findings import Finding, bad, ok, warn
from launch.preflight.schedule import length, rows_a_step
from launch.preflight.subject import Subject
from trainers.sequence import check_shared, groups, ranks_of_a_row

OFTEN = 10
"""Epochs from which a run mostly learns by heart."""


def check(subject: Subject) -> list[Finding]:
    """Micro-batch x accumulation x ranks; raises TrainError for what does not divide."""
    recipe, ranks = subject.recipe, subject.ranks
    arguments = subject.arguments()
    check_shared(recipe, ranks, subject.setting("max_length"), not arguments.use_cpu)
    micro, size = arguments.per_device_train_batch_size, rows_a_step(arguments)
    n, shared = groups(recipe, ranks), ranks_of_a_row(recipe)
    text = f"{size} = {micro} a micro-batch x {size // (micro * n)} accumulated x {n} "
    text += f"group{'s' * (n > 1)} of {shared} ranks" if shared > 1 else f"rank{'s' * (n > 1)}"
    rows = subject.stage.epoch(subject.mix.train, arguments)
    if rows < size:
        return [bad(f"{text}, and the mix has {rows:,}", f"train.global_batch_size={rows}, or more rows")]
    steps = length(subject)
    epochs = steps.steps * size / rows if steps else None
    if epochs and epochs > OFTEN and subject.form.labelled(subject.mix.train[0]):
        return [warn(f"{text}; every row is seen {epochs:.0f} times", "more rows, or fewer steps: train.max_steps")]
    return [ok(text + (f"; {rows:,} in the mix" + (f", seen {epochs:.2g} times" if epochs else "")))]
