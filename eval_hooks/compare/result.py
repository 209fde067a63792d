"""A whole comparison: what the screen, the picture, the page and compare.json are made from."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from eval_hooks.compare.pairs import Pair, Unpaired, pair_all
from eval_hooks.compare.plane import Point, place
from eval_hooks.evaluations import Evaluation

if TYPE_CHECKING:
    from eval_hooks.compare.decision import Decision


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Models in the order named, A first; every other paired with A."""

    models: tuple[Evaluation, ...]
    pairs: tuple[Pair, ...]
    """Task by task, in A's order, models in order within a task."""
    unpaired: tuple[Unpaired, ...]
    points: tuple[Point, ...]
    """The plane of target against retention."""
    left_out: dict[int, str]
    """Model -> why it has no point."""
    decision: "Decision | None" = None
    """Whether it fails, where that was asked."""

    @property
    def tasks(self) -> tuple[str, ...]:
        """Tasks with at least one pair."""
        return tuple(dict.fromkeys(pair.task for pair in self.pairs))

    def of(self, task: str) -> tuple[Pair, ...]:
        """A task's pairs."""
        return tuple(pair for pair in self.pairs if pair.task == task)

    def named(self, model: int) -> str:
        """A quickstart:40."""
        return f"{letter(model)} {self.models[model].label}"

    def as_dict(self) -> dict[str, Any]:
        """The content of compare.json."""
        return {
            "models": [
                {"letter": letter(i), "folder": str(model.folder), "step": model.summary["step"],
                 "accuracy": {name: task["accuracy"] for name, task in model.tasks().items()}}
                for i, model in enumerate(self.models)
            ],
            "pairs": [{**pair.as_dict(), "model": letter(pair.model)} for pair in self.pairs],
            "unpaired": [{**asdict(one), "model": letter(one.model)} for one in self.unpaired],
            "plane": [{**point.as_dict(), "model": letter(point.model)} for point in self.points],
            "decision": self.decision.as_dict() if self.decision else None,
            "not_in_plane": {letter(model): reason for model, reason in self.left_out.items()},
        }  # fmt: skip


def letter(model: int) -> str:
    """A, B, ..., Z, A2, B2, ..."""
    again, place = divmod(model, 26)
    return chr(ord("A") + place) + (str(again + 1) if again else "")


def compared(models: Sequence[Evaluation], tasks: Sequence[str] = ()) -> Comparison:
    """Pair all models with the first. Raises EvalError for what `pair_all` refuses."""
    pairs, unpaired = pair_all(models, tasks)
    points, left_out = place(models)
    return Comparison(models=tuple(models), pairs=pairs, unpaired=unpaired, points=points, left_out=left_out)
