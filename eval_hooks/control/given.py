"""What CheckpointEval is given, in any of its forms, held to the types and bounds of a recipe's `eval:` section."""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar, get_args, get_type_hints

from pydantic import TypeAdapter, ValidationError

from eval_hooks.bounds import BOUNDS
from eval_hooks.budget import ALONE
from eval_hooks.config import Action, Budget, EvalConfig, Role, TaskSpec
from eval_hooks.errors import EvalError
from eval_hooks.names import RULE, alike, is_name

Entry = TaskSpec | Mapping[str, Any] | str
Settings = TypeVar("Settings", TaskSpec, Budget)


def entries_of(tasks: Sequence[Entry], retain: Sequence[Entry]) -> list[tuple[TaskSpec, Role]]:
    """Both lists as specs with their roles. Raises EvalError for what no entry may say, and two tasks of one name."""
    for name, entries in (("tasks", tasks), ("retain", retain)):
        if isinstance(entries, str | Mapping):
            raise EvalError(f"{name} {entries!r}: a list of entries is due; write [{entries!r}]")
    out: list[tuple[TaskSpec, Role]] = [*((_spec(t), "target") for t in tasks), *((_spec(t), "retain") for t in retain)]
    names = [spec.called for spec, _ in out]
    if twice := alike(names):
        raise EvalError(f"two tasks are called {sorted(set(twice))} (capitals aside); give one of them a `name`")
    return out


def _spec(entry: Entry) -> TaskSpec:
    if not isinstance(entry, TaskSpec | Mapping | str):
        raise EvalError(f"task entry {entry!r}: a name, a mapping with a `task`, or a TaskSpec is due")
    given: Mapping[str, Any] | TaskSpec = {"task": entry} if isinstance(entry, str) else entry
    if isinstance(given, Mapping) and not given.get("task"):
        raise EvalError(f"task entry {entry!r}: it lacks `task`, the name of what is measured")
    return _settings(TaskSpec, given, f"task entry {entry!r}: " if isinstance(entry, Mapping) else "")


def budget_of(given: Budget | Mapping[str, Any] | None) -> Budget:
    """A budget in any of its forms. Raises EvalError for a key or a value that cannot be, all of them at once."""
    if not isinstance(given, Budget | Mapping | None):
        raise EvalError(f"budget {given!r}: a mapping is due, as {{'accuracy_drop': 0.02, 'action': 'stop'}}")
    if isinstance(given, Mapping) and given.get("action", "report") not in get_args(Action):
        raise EvalError(f"budget.action {given['action']!r}: alone the callback can {', '.join(ALONE)}")
    return _settings(Budget, given or {}, "budget.")


def check_options(**options: Any) -> None:
    """Raise EvalError for options of the callback that the `eval:` section of a recipe could not have, all at once."""
    if wrong := _problems(EvalConfig, options, ""):
        raise EvalError("; ".join(wrong))


def check_names(held_out: Mapping[str, Any]) -> None:
    """Raise EvalError for a name that no file of a validation set could have."""
    if wrong := [name for name in held_out if not is_name(name)]:
        raise EvalError(f"held_out: {', '.join(map(repr, wrong))}: no name of a validation set; {RULE}")


def check_carried_out(budget: Budget, carried_out: Sequence[Action], order: str, cost_limit: float | None) -> None:
    """Raise EvalError for what nobody would carry out: the budget's action, an end before all items are scored."""
    if cost_limit is not None and order == "full":
        raise EvalError(
            f"eval.cost_limit {cost_limit:g}: only an evaluation in waves can end early; set eval.order: waves"
        )
    if budget.action not in carried_out:
        raise EvalError(
            f"budget.action {budget.action!r}: alone the callback can {', '.join(ALONE)}; run a recipe with "
            "`temper train` for the others"
        )


def _settings(cls: type[Settings], given: Settings | Mapping[str, Any], place: str) -> Settings:
    """The instance of a mapping or of itself."""
    values = dict(given if isinstance(given, Mapping) else vars(given))
    values = {key: _converted(cls, key, value) for key, value in values.items()}
    if wrong := _problems(cls, values, place):
        raise EvalError("; ".join(wrong))
    return cls(**values)


def _converted(cls: type, key: str, value: Any) -> Any:
    """As the class has it: a path as text, a list as a tuple, a mapping as the class of its key."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, list):
        return tuple(value)
    hint = get_type_hints(cls).get(key)
    kinds = [one for one in (hint, *get_args(hint)) if isinstance(one, type) and dataclasses.is_dataclass(one)]
    if not kinds or not isinstance(value, Mapping):
        return value
    inner: type = kinds[0]
    if wrong := _problems(inner, value, f"{key}."):
        raise EvalError("; ".join(wrong))
    return inner(**value)


def _problems(cls: type, values: Mapping[str, Any], place: str) -> list[str]:
    """One sentence for each value that the class or its bounds refuse."""
    hints, bounds, out = get_type_hints(cls), BOUNDS.get(cls, {}), []
    if unknown := [str(key) for key in values if key not in hints]:
        out.append(f"{place}no such key: {', '.join(unknown)}; there are: {', '.join(hints)}")
    for key, value in values.items():
        bound = bounds.get(key)
        try:
            TypeAdapter(hints.get(key, Any)).validate_python(value, strict=True)
        except ValidationError as error:
            said = " or ".join(dict.fromkeys(one["msg"].removeprefix("Input should be ") for one in error.errors()))
            out.append(f"{place}{key} {value!r}: must be {bound.words if bound else said}")
        else:
            if bound and bound.refuses(value):
                out.append(f"{place}{key} {value!r}: must be {bound.words}")
    return out
