"""Accumulation: one batch of N rows and N batches of one row give the same loss and the same gradient."""

from dataclasses import dataclass
from typing import Any

from eval_hooks.evaluate import half_precision
from launch.findings import Finding, does_not_apply, ok, warn
from launch.preflight.subject import Subject, batches, still

ROWS = 8
"""Rows of the batch, at most."""
TOLERANCE = {False: 1e-3, True: 3e-2}
"""Relative difference that is rounding, by whether the forward pass is in 16 bits. A mean of means instead of the mean
over all tokens is off by a tenth and more where answers differ in length."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """What an optimizer step would be given."""

    loss: float
    gradients: dict[str, Any]
    parts: int


def check(subject: Subject) -> list[Finding]:
    """Both ways on the real path."""
    if not subject.form.labelled(subject.mix.train[0]):
        return [does_not_apply("the model writes the answers it is trained on, other ones each time")]
    arguments = subject.arguments()
    n = min(ROWS, arguments.per_device_train_batch_size * arguments.gradient_accumulation_steps)
    if subject.setting("padding_free") or subject.setting("packing"):
        n = min(n, 4)
    rows = subject.some_rows(n)
    n = min(n, len(rows))
    if n < 2:
        return [does_not_apply("a global batch is one row")]
    whole, parts = step(subject, rows, n, 1), step(subject, rows, 1, n)
    loss, gradient = apart(whole, parts)
    text = f"1 x {n} and {parts.parts} x 1 rows: loss differs by {loss:.1e}, gradient by {gradient:.1e} (relative)"
    if max(loss, gradient) > TOLERANCE[bool(half_precision(arguments) or in_16_bits(subject))]:
        about = f"what {subject.recipe.method.name} computes depends on which rows share a micro-batch"
        return [warn(f"{text}; {about}", "keep per_device_train_batch_size x ranks the same when you compare runs")]
    return [ok(text)]


def in_16_bits(subject: Subject) -> bool:
    """Whether the weights themselves are."""
    return subject.model.dtype.itemsize == 2


def step(subject: Subject, rows: Any, micro: int, accumulated: int) -> Step:
    """Loss and gradient of one optimizer step; gradients are kept in main memory."""
    arguments = subject.arguments(per_device_train_batch_size=micro, gradient_accumulation_steps=accumulated)
    trainer = subject.trainer(rows, arguments)
    samples, items = batches(trainer, accumulated)
    with still(trainer.model), trainer.accelerator.autocast():
        losses = [trainer.training_step(trainer.model, batch, items).item() for batch in samples]
        gradients = {
            name: parameter.grad.float().to("cpu", copy=True)
            for name, parameter in trainer.model.named_parameters()
            if parameter.grad is not None
        }
    return Step(loss=sum(losses), gradients=gradients, parts=len(samples))


def apart(a: Step, b: Step) -> tuple[float, float]:
    """Relative differences of loss and gradient: |a - b| / |a|."""
    size = sum(float(gradient.norm()) ** 2 for gradient in a.gradients.values()) ** 0.5
    between = sum(float((a.gradients[name] - b.gradients[name]).norm()) ** 2 for name in a.gradients) ** 0.5
    return abs(a.loss - b.loss) / max(abs(a.loss), 1e-8), between / max(size, 1e-8)
