"""The learning rate: in the range of what is trained, reached, and left again within the run."""

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, isfinite
from typing import Any

from launch.findings import Finding, bad, ok, warn
from launch.preflight.subject import Subject

FULL, LORA = (5e-8, 3e-4), (1e-6, 3e-3)
"""Peak rates that published recipes use. Full tuning: 5e-7 (Zephyr's DPO) to 3e-4 (continued pretraining of small
models); a LoRA bears and needs about ten times as much (Hu et al. 2021, 2e-4 and more; the quickstart 1e-3)."""
POINTS = 200
"""Places of the schedule that are looked at."""
LATE = 0.5
"""Share of the run spent warming up that is worth a word."""


@dataclass(frozen=True)
class Length:
    """How long a run is."""

    steps: int
    words: str
    """How that follows."""


def check(subject: Subject) -> list[Finding]:
    """The rate against what is trained, and the schedule against the number of steps, where that is known."""
    found = rate(subject)
    steps = length(subject)
    if steps is None:
        return found
    found += every(subject, steps.steps) + shape(subject, steps.steps)
    return found or [ok(f"{subject.setting('learning_rate'):g}, {steps.words}, {subject.setting('lr_scheduler_type')}")]


def rate(subject: Subject) -> list[Finding]:
    """The peak against the range of what is trained."""
    peak, full = subject.setting("learning_rate"), subject.recipe.adapter.kind == "none"
    low, high = FULL if full else LORA
    what = "full tuning" if full else "a LoRA"
    if not isfinite(peak) or peak <= 0:
        return [bad(f"train.learning_rate {peak:g}: nothing would be learned", f"{what} takes {low:g} to {high:g}")]
    if not low <= peak <= high:
        side = "high" if peak > high else "low"
        text = f"train.learning_rate {peak:g}: {side} for {what}, which takes {low:g} to {high:g}"
        return [warn(text, "a dozen steps and an evaluation tell: temper train ... train.max_steps=12")]
    return []


def length(subject: Subject) -> Length | None:
    """Optimizer steps; None where they follow from rows that were not counted (before training)."""
    steps = subject.setting("max_steps")
    if steps > 0:
        return Length(steps, f"{steps} steps")
    if "mix" not in subject.made:
        return None
    arguments = subject.arguments()
    batch = rows_a_step(arguments)
    rows = subject.stage.epoch(subject.mix.train, arguments)
    epochs = arguments.num_train_epochs
    steps = ceil(ceil(rows / batch) * epochs)
    return Length(steps, f"{steps} steps ({epochs:g} epochs of {rows:,} rows, {batch} a step)")


def rows_a_step(arguments: Any) -> int:
    """Of `Subject.arguments`, whose one process does what all ranks do."""
    return int(arguments.per_device_train_batch_size * arguments.gradient_accumulation_steps)


def every(subject: Subject, steps: int) -> list[Finding]:
    """How often the model is measured against the run's length."""
    period = subject.recipe.eval.every
    if isinstance(period, int) and period > steps:
        text = f"eval.every {period} is more than the {steps} steps: measured at the start and the end only"
        return [warn(text, f"eval.every={max(1, steps // 2)}, or a fraction, as 0.5")]
    return []


def shape(subject: Subject, steps: int) -> list[Finding]:
    """The warm-up against the run, and a scheduler that cannot be made."""
    warmup = subject.setting("warmup_steps") or 0
    warm = ceil(warmup * steps) if 0 < warmup < 1 else int(warmup)
    if warm >= steps:
        text = f"train.warmup_steps {warmup:g}: the run has {steps} steps, so the rate never reaches learning_rate"
        return [bad(text, "train.warmup_steps=0.1 is a tenth of the run")]
    try:
        factor = schedule(subject, warm, steps)
    except (ValueError, TypeError, KeyError) as error:
        text = f"train.lr_scheduler_type {subject.setting('lr_scheduler_type')}: {str(error).splitlines()[0]}"
        return [bad(text, "give what it needs in train.lr_scheduler_kwargs, or write cosine")]
    if factor is not None and (peak := max(factor(step * steps // POINTS) for step in range(POINTS))) < 0.9:
        return [warn(f"the rate reaches {peak:.0%} of learning_rate at most", "look at train.lr_scheduler_kwargs")]
    if warm > LATE * steps:
        return [warn(f"train.warmup_steps {warmup:g}: {warm} of {steps} steps", "train.warmup_steps=0.1 is a tenth")]
    return []


def schedule(subject: Subject, warm: int, steps: int) -> Callable[[int], float] | None:
    """Step -> factor of the learning rate, as transformers makes it; None where it follows from what is measured."""
    import torch
    from transformers import get_scheduler

    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    more: Any = subject.setting("lr_scheduler_kwargs")
    made = get_scheduler(
        subject.setting("lr_scheduler_type"), optimizer, warm, steps, dict(more) if isinstance(more, dict) else None
    )
    return made.lr_lambdas[0] if hasattr(made, "lr_lambdas") else None
