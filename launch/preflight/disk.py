"""Free disk: room for the checkpoints that a run keeps at a time."""

from eval_hooks.evaluate import half_precision
from launch.findings import Finding, ok
from launch.preflight.run_folder import nearest_folder
from launch.preflight.subject import Subject


def check(subject: Subject) -> list[Finding]:
    """What checkpoints take where the run folder will be; raises TrainError where it is not there."""
    from launch.preflight.adapter import on
    from trainers.keeping import disk

    if subject.recipe.adapter.kind == "none":
        model = subject.skeleton
    else:
        model = subject.made.get("adapted skeleton") or on(subject)
    half = bool(half_precision(subject.arguments()))
    return [ok(disk(subject.recipe, model, nearest_folder(subject.run_dir or subject.runs), half))]
