"""What a budget's decision does to a run: from where it goes on, and what is different from then on.

The callback decides and stops the training; here the run is set up anew. What was done is kept in the run folder, so
that a resumed run goes on as it was.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_mix.config import DataConfig
from eval_hooks.callback import Due
from eval_hooks.config import Action, Replay
from eval_hooks.control import ledger
from eval_hooks.control.rate import slow, slow_again
from eval_hooks.files import checkpoints, evaluations, read_json, summary_of, write_json
from eval_hooks.storage.aside import set_aside
from eval_hooks.storage.inside import remove
from trainers.catalog import STAGES
from trainers.recipe import Recipe
from trainers.rundir import Place

if TYPE_CHECKING:
    from transformers import TrainerCallback

FILE = "budget.actions.json"


@dataclass(frozen=True, kw_only=True)
class Taken:
    """One action that was carried out."""

    action: Action
    step: int
    """At which it was decided, of this run."""
    back_to: int
    """The step that training goes on from."""
    reason: str


def read(folder: Path) -> list[Taken]:
    """What was carried out in a run folder, in order."""
    file = folder / FILE
    return [Taken(**row) for row in read_json(file)["taken"]] if file.is_file() else []


def carry_out(due: Due, place: Place) -> Taken:
    """Set aside what lies after the step to go on from, and note the action. On the writing rank."""
    back_to = last_good(place) if due.action == "roll_back" else due.step
    if due.action == "roll_back":
        for step, folder in checkpoints(place.folder).items():
            if step > back_to:
                remove(folder, place.folder)  # weights that nobody should ship; what was measured of them is kept
        set_aside(place.root, "rolled-back", place.offset + back_to)
        ledger.roll_back(place.root, place.offset, after=place.offset + back_to)
    taken = Taken(action=due.action, step=due.step, back_to=back_to, reason=due.reason)
    write_json(place.folder / FILE, {"taken": [asdict(one) for one in [*read(place.folder), taken]]})
    return taken


def last_good(place: Place) -> int:
    """The newest checkpoint at whose evaluation no limit was crossed; 0, the start, where there is none."""
    measured = evaluations(place.root)
    good = [
        step
        for step in checkpoints(place.folder)
        if place.offset + step in measured and not summary_of(measured[place.offset + step]).get("budget")
    ]
    return max(good, default=0)


def recipe_after(recipe: Recipe, taken: Sequence[Taken], rows: Mapping[str, int]) -> Recipe:
    """The recipe with what the actions changed in it; `rows` are those of each train source."""
    kinds = {one.action for one in taken}
    if "replay" in kinds and recipe.eval.budget.replay:
        recipe = replace(recipe, data=with_replay(recipe.data, recipe.eval.budget.replay, rows))
    way = STAGES[recipe.stage].anchor
    if "kl" in kinds and isinstance(way, str):
        recipe = replace(recipe, train={**recipe.train, way: recipe.eval.budget.kl.weight})
    return recipe


def with_replay(data: DataConfig, replay: Replay, rows: Mapping[str, int]) -> DataConfig:
    """The mix with one more source, which begins anew when exhausted; the others keep their proportions."""
    weights = [spec.weight if spec.weight is not None else float(rows[spec.name]) for spec in data.train]
    old = (replace(spec, weight=weight) for spec, weight in zip(data.train, weights, strict=True))
    new = replace(replay.source, weight=sum(weights) * replay.share / (1 - replay.share), repeat=True)
    return replace(data, train=(*old, new))


def anchored(recipe: Recipe, taken: Sequence[Taken]) -> Callable[[Mapping[str, Any]], dict[str, Any]] | None:
    """The texts on which the trainer is to be pulled towards the start, if it is."""
    way = STAGES[recipe.stage].anchor
    return way if not isinstance(way, str) and any(one.action == "kl" for one in taken) else None


def slowed(recipe: Recipe, taken: Sequence[Taken]) -> "TrainerCallback | None":
    """A callback that lowers the learning rate once for each time that the run was rolled back."""
    from transformers import TrainerCallback

    back_to = [one.back_to for one in taken if one.action == "roll_back"]
    if not back_to:
        return None

    class Slowed(TrainerCallback):
        """The checkpoint that training goes on from was as slow as the roll-backs before it had made the run."""

        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            """Scale the schedule."""
            factor, new = recipe.eval.budget.lr.factor, sum(step >= state.global_step for step in back_to)
            slow_again(kwargs["lr_scheduler"], factor ** (len(back_to) - new))
            slow(kwargs["optimizer"], kwargs["lr_scheduler"], factor**new)

    return Slowed()
