"""Free disk: room for the checkpoints that a run keeps at a time."""

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
    arguments = subject.arguments()
    half = arguments.bf16 or arguments.fp16
    return [ok(disk(subject.recipe, model, nearest_folder(subject.run_dir or subject.runs), half))]
