"""The items that a temperature is fitted on: another split of the same task, never the items that are reported."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from eval_hooks.config import FITTED, TaskSpec
from eval_hooks.errors import EvalError
from eval_hooks.harness.load import Harness
from eval_hooks.items import ChoiceSet

MEANINGLESS = "a temperature fitted on the items that are reported makes their calibration meaningless"


def validation_spec(spec: TaskSpec) -> TaskSpec:
    """The task entry of the items to fit on; a path to one file becomes its folder. Raises EvalError for test rows."""
    assert spec.temperature_split
    asked = f"{spec.task}: temperature_split {spec.temperature_split!r}"
    if spec.temperature_split in ("test", spec.split):
        raise EvalError(f"{asked}: {MEANINGLESS}; name validation")
    if spec.temperature_split == "dev" and spec.shots:
        raise EvalError(f"{asked}: the dev rows are the shots themselves; name validation, or ask at shots: 0")
    folder = str(Path(spec.path).parent) if spec.path and Path(spec.path).is_file() else spec.path
    name = f"{spec.called}{FITTED}"
    return replace(spec, name=name, split=spec.temperature_split, path=folder, temperature_split=None)


def with_validation(spec: TaskSpec, load: Callable[[TaskSpec], ChoiceSet | Harness]) -> ChoiceSet | Harness:
    """A task's items and, where its entry names a split for it, those that fit a temperature.

    Raises EvalError for a split that is test or the scored one (under another name, too), and all that loading refuses.
    """
    scored = load(spec)
    if not spec.temperature_split:
        return scored
    fitted = load(validation_spec(spec)) if isinstance(scored, ChoiceSet) else None
    if not isinstance(scored, ChoiceSet) or not isinstance(fitted, ChoiceSet):
        raise EvalError(f"{spec.task}: temperature_split: lm-eval's tasks have no split to fit on; remove it")
    asked = {(item.subject, item.question, item.choices) for item in scored.items}
    if all((item.subject, item.question, item.choices) in asked for item in fitted.items):
        raise EvalError(
            f"{spec.task}: temperature_split {spec.temperature_split!r} holds the scored items themselves: "
            f"{MEANINGLESS}; name another split"
        )
    return replace(scored, validation=fitted)
