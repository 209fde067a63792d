"""What a verdict is to hold for: whether the tasks of a run can say anything of new subjects."""

from collections.abc import Iterable

from eval_hooks.config import Over, Role, TaskSpec
from eval_hooks.errors import EvalError
from eval_hooks.harness.load import Harness
from eval_hooks.items import ChoiceSet
from eval_hooks.ready import Items
from eval_hooks.retention.subjects import FEWEST_SUBJECTS

IN_WAVES = "subjects: an evaluation in waves draws items by margin, not by subject; write eval.order: full"
"""Why the two do not go together."""


def subjects_of(items: Items) -> int:
    """How many subjects a task's items have: of lm-eval's its tasks; of rows of a data source none."""
    if isinstance(items, ChoiceSet):
        return len({item.subject for item in items.items})
    return len(items.tasks) if isinstance(items, Harness) else 0


def check_over(over: Over, order: str, asked: Iterable[tuple[TaskSpec, Role, Items]]) -> None:
    """Raise EvalError where the verdict on a task to retain is to hold for new subjects and cannot.

    A target without subjects is judged for items like these, and says so.
    """
    if over != "subjects":
        return
    if order == "waves":
        raise EvalError(f"eval.over {IN_WAVES}")
    counts = [(spec.called, subjects_of(items)) for spec, role, items in asked if role == "retain"]
    if few := [f"{name} has {n or 'none'}" for name, n in counts if n < FEWEST_SUBJECTS]:
        raise EvalError(
            f"eval.over subjects: new subjects need {FEWEST_SUBJECTS} to be told from, and {', '.join(few)}; retain a "
            "task that has them (pocket, mmlu, a group of lm-eval), or write eval.over: items"
        )
