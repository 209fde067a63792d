"""Two groups of runs, each of one recipe with other seeds, asked the same items in the same way."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from eval_hooks.config import MARGIN
from eval_hooks.errors import EvalError
from eval_hooks.evaluations import RUNS, Evaluation, find, same_prompts
from eval_hooks.files import read_json
from eval_hooks.retention import paired
from eval_hooks.seeds.interval import FEWEST
from eval_hooks.table import marks, scale_of
from eval_hooks.variance.recipes import check_repetitions, differences, leaves
from eval_hooks.variance.runs import SEEDS


@dataclass(frozen=True, kw_only=True)
class Groups:
    """Evaluations of recipe A and of recipe B."""

    a: tuple[Evaluation, ...]
    b: tuple[Evaluation, ...]
    one_recipe: bool
    """A and B are the same recipe: what differs between them is chance."""
    unchecked: tuple[str, ...]
    """Runs without a recipe to compare."""

    @property
    def all(self) -> tuple[Evaluation, ...]:
        """A's, then B's."""
        return self.a + self.b

    @property
    def tasks(self) -> tuple[str, ...]:
        """Measured in every run, in the order of the first."""
        return tuple(name for name in self.a[0].tasks() if all(name in one.tasks() for one in self.all))

    @property
    def counted(self) -> tuple[str, ...]:
        """Those whose items are right or wrong, or a part of it; all where none is."""
        of = self.a[0].tasks()
        return (
            tuple(name for name in self.tasks if (of[name].get("accuracy") or {"value": 0.0})["value"] is not None)
            or self.tasks
        )

    def margin(self, task: str) -> float:
        """What may be lost and still be called kept: the smallest that a run says, or the default."""
        said = [(one.tasks()[task].get("retention") or {}).get("margin") for one in self.all]
        return min((value for value in said if value is not None), default=MARGIN)

    def goal(self, task: str) -> str:
        """`up`, or `down` where a lower score is the better one. Raises EvalError where the runs do not agree."""
        goals = {one.tasks()[task].get("goal", "up"): one for one in self.all}
        if len(goals) > 1:
            said = ", ".join(f"{goal} in {one.folder}" for goal, one in goals.items())
            raise EvalError(f"{task}: its goal is not the same in all runs: {said}; compare runs that want the same")
        return next(iter(goals))


def gather(seeds: Sequence[str], against: Sequence[str], root: Path = RUNS) -> Groups:
    """The evaluations named, checked to be two groups of repetitions.

    Raises EvalError for fewer than two runs in a group, one evaluation twice, other steps within a group, recipes that
    differ in more than seeds within a group, and the same seeds twice in one recipe.
    """
    for option, names in (("--seeds", seeds), ("--against", against)):
        if len(names) < FEWEST:
            raise EvalError(
                f"{option} {' '.join(names)}: name two or more runs of one recipe with other seeds; one run shows "
                "nothing of what its seed did"
            )
    a, b = (tuple(find(name, root) for name in names) for names in (seeds, against))
    seen: dict[Path, Evaluation] = {}
    for one in (*a, *b):
        if twin := seen.get(one.folder.resolve()):
            raise EvalError(f"{twin.folder} is named twice; each run counts once")
        seen[one.folder.resolve()] = one
    unchecked = [name for group in (a, b) for name in _repetitions(group)]
    one_recipe = not unchecked and not differences([_recipe(a[0]), _recipe(b[0])])
    if one_recipe:
        _repetitions((*a, *b))
    return Groups(a=a, b=b, one_recipe=one_recipe, unchecked=tuple(unchecked))


def scores(task: str, groups: Groups) -> tuple[np.ndarray, np.ndarray]:
    """What each item earned in A's runs and in B's, (runs, n) each.

    Raises EvalError for other prompts, other items and scores that are no number, naming the first that differs.
    """
    first = groups.a[0]
    there = first.table(task)
    if not scale_of(there).share:
        raise EvalError(
            f"{task}: its items have a score in {scale_of(there).unit}, neither right nor wrong; two recipes are "
            "compared over seeds by their accuracy: name other tasks with --task, or compare single runs"
        )
    each = [marks(_same(task, first, there, one)) for one in groups.all]
    for one, values in zip(groups.all, each, strict=True):
        if not np.isfinite(values).all():
            item = there.column("item_id")[int(np.argmin(np.isfinite(values)))].as_py()
            raise EvalError(f"{task}: the score of item {item} in {one.folder} is no number; evaluate it again")
    return np.array(each[: len(groups.a)]), np.array(each[len(groups.a) :])


def _same(task: str, first: Evaluation, there: pa.Table, one: Evaluation) -> pa.Table:
    same_prompts(task, first, one, SEEDS)
    table = one.table(task)
    try:
        paired(there, table)
    except EvalError as error:
        raise EvalError(f"{task}: {first.folder} and {one.folder}: {error}") from error
    return table


def _repetitions(group: Sequence[Evaluation]) -> list[str]:
    steps = {one.summary["step"]: one for one in group}
    homes = [_home(one) for one in group]
    if len(set(homes)) < len(homes):
        twice = next(home for home in homes if homes.count(home) > 1)
        raise EvalError(f"{twice}: two evaluations of one run are no two seeds; name each run once")
    unchecked = check_repetitions(homes)
    if len(steps) > 1:
        said = ", ".join(f"{one.folder} at {step}" for step, one in steps.items())
        raise EvalError(f"runs of one recipe are compared at one step: {said}; RUN_DIR:STEP names another")
    return unchecked


def _home(one: Evaluation) -> Path:
    """The run folder; of an evaluation outside of one, its own folder."""
    return one.folder.parents[1] if one.folder.parent.name == "evals" else one.folder


def _recipe(one: Evaluation) -> dict[str, object]:
    return dict(leaves(read_json(_home(one) / "recipe.resolved.json")))
