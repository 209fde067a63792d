"""What CheckpointEval is given, in any of its forms: entries of tasks, a budget."""

from collections.abc import Mapping, Sequence
from typing import Any, get_args, get_type_hints

from eval_hooks.budget import ALONE
from eval_hooks.config import Budget, Lr, Role, TaskSpec
from eval_hooks.errors import EvalError
from eval_hooks.names import alike

Entry = TaskSpec | Mapping[str, Any] | str


def entries_of(tasks: Sequence[Entry], retain: Sequence[Entry]) -> list[tuple[TaskSpec, Role]]:
    """Both lists as specs with their roles. Raises EvalError for an unknown key and for two tasks of one name."""
    out: list[tuple[TaskSpec, Role]] = [*((_spec(t), "target") for t in tasks), *((_spec(t), "retain") for t in retain)]
    names = [spec.called for spec, _ in out]
    if twice := alike(names):
        raise EvalError(f"two tasks are called {sorted(set(twice))} (capitals aside); give one of them a `name`")
    return out


def _spec(entry: Entry) -> TaskSpec:
    """A task entry in any of its three forms. Raises EvalError for an unknown key."""
    if isinstance(entry, TaskSpec):
        return entry
    try:
        return TaskSpec(task=entry) if isinstance(entry, str) else TaskSpec(**entry)
    except TypeError as error:
        raise EvalError(
            f"task entry {entry!r}: {str(error).removeprefix('TaskSpec.__init__() ')}; keys are those of "
            "eval_hooks.config.TaskSpec"
        ) from error


def budget_of(given: Budget | Mapping[str, Any] | None) -> Budget:
    """A budget in any of its forms. Raises EvalError for a key, an action or a share that cannot be."""
    if isinstance(given, Budget):
        return given
    hints, values = get_type_hints(Budget), dict(given or {})
    if unknown := values.keys() - hints.keys():
        raise EvalError(f"budget: no such key: {', '.join(sorted(unknown))}; there are: {', '.join(hints)}")
    actions = get_args(hints["action"])
    if values.get("action", "report") not in actions:
        raise EvalError(f"budget.action {values['action']!r}: alone the callback can {', '.join(ALONE)}")
    if isinstance(values.get("lr"), Mapping):
        values["lr"] = Lr(**values["lr"])
    for key in ("accuracy_drop", "ece_rise", "target_floor"):
        share = values.get(key)
        if share is not None and not (isinstance(share, int | float) and 0 <= share < 1):
            raise EvalError(f"budget.{key} {share!r}: must be a share from 0 to below 1, as 0.02 for two points")
    return Budget(**values)
