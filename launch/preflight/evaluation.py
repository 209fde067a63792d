"""The evaluation set: every task's items can be loaded, and there are enough of them to see a loss of the margin."""

from launch.findings import Finding, ok, warn
from launch.preflight.subject import Subject


def check(subject: Subject) -> list[Finding]:
    """What is asked, and of the held-out rows how many; raises what loading raises."""
    from eval_hooks.wording import wordings
    from trainers.evaluation import checkpoint_eval
    from trainers.keeping import check_roll_back, check_rule

    recipe, asked = subject.recipe, subject.items
    checkpoint_eval(recipe, subject.mix.validation)
    check_roll_back(recipe, subject.arguments())
    check_rule(recipe)
    counts = [f"{spec.called} {len(wordings(items)):,} items" for spec, items in asked]
    counts += [f"{name} {len(rows):,} held-out rows" for name, rows in subject.mix.validation.items()]
    if not counts:
        text = "nothing is measured: no eval.target, no eval.retain, no data.validation"
        return [warn(text, "eval.retain: [{task: pocket, variant: olmes_cf, shots: 0}] sees what is lost")]
    if not recipe.eval.retain:
        return [warn(f"{', '.join(counts)}; nothing to retain", "eval.retain names what must not be lost")]
    return [ok(", ".join(counts))]
