"""Verdicts: whether `kept` can be said at all with these items, this margin, so many evaluations and tasks."""

from dataclasses import asdict
from types import SimpleNamespace

from launch.findings import Finding, does_not_apply, ok, warn
from launch.preflight.schedule import length
from launch.preflight.subject import Subject


def check(subject: Subject) -> list[Finding]:
    """What the run's last evaluation and those before it can say of each task to retain."""
    from eval_hooks.budget import plan_of
    from eval_hooks.callback import between_ends
    from eval_hooks.config import kept_margin
    from eval_hooks.report.reach import enough, reachable, remedies
    from eval_hooks.retention.reach import reach
    from eval_hooks.wording import wordings

    section = subject.recipe.eval
    retained = {spec.called for spec in section.retain}
    if not retained:
        return [does_not_apply("nothing to retain")]
    steps = length(subject)
    state = SimpleNamespace(
        max_steps=steps.steps if steps else 0, num_train_epochs=subject.setting("num_train_epochs") or 1
    )
    between = between_ends(section.every, state) if steps or section.every == "epoch" else None
    plan, margin = plan_of(section.budget, between, subject.share), kept_margin(section.margin, section.budget)
    found = []
    for spec, items in subject.items:
        if spec.called in retained:
            entry = asdict(reach(len(wordings(items)), margin, plan, len(retained)))
            said = reachable(spec.called, entry)
            found.append(ok(said) if enough(entry) else warn(said.partition(". ")[0], remedies(entry)))
    return found
