"""Verdicts: whether `kept` can be said at all with these items, this margin, so many evaluations and tasks."""

from dataclasses import asdict

from launch.findings import Finding, does_not_apply, ok, warn
from launch.preflight.schedule import length
from launch.preflight.subject import Subject


def check(subject: Subject) -> list[Finding]:
    """What the run's last evaluation and those before it can say of each task to retain."""
    from eval_hooks.budget import plan_of
    from eval_hooks.config import kept_margin
    from eval_hooks.control.schedule import between_ends
    from eval_hooks.report.reach import enough, reachable, remedies
    from eval_hooks.retention.reach import reach
    from eval_hooks.wording import wordings

    section = subject.recipe.eval
    retained = {spec.called for spec in section.retain}
    if not retained:
        return [does_not_apply("nothing to retain")]
    steps = length(subject)
    epochs = subject.setting("num_train_epochs") or 1
    known = steps or section.every == "epoch"
    between = between_ends(section.every, steps.steps if steps else 0, epochs) if known else None
    plan, margin = plan_of(section.budget, between, subject.share), kept_margin(section.margin, section.budget)
    found = []
    for spec, items in subject.items:
        if spec.called in retained:
            entry = asdict(reach(len(wordings(items)), margin, plan, len(retained)))
            said = reachable(spec.called, entry)
            found.append(ok(said) if enough(entry) else warn(said, remedies(entry)))
    return found
