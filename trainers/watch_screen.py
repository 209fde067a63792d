"""What a watcher says before it begins: what there is, what is asked, how it ends; and what it refuses."""

from collections.abc import Iterator
from pathlib import Path

from eval_hooks.config import Budget
from eval_hooks.files import checkpoints, evaluations
from trainers import TrainError
from trainers.recipe import Pipeline, Recipe, runs_of
from trainers.rundir import read_status, trains

OVER = ("done", "failed", "stopped")
"""States after which no more checkpoints come; a run that was interrupted may go on."""
ROLES = ("target", "retain")


def check(recipe: Recipe | Pipeline, root: Path) -> None:
    """Raise TrainError where there is nothing to ask, or nothing to ask it of."""
    if not any(run.eval.target or run.eval.retain or run.data.validation for run in runs_of(recipe)):
        raise TrainError(f"watch {root}: the recipe measures nothing; name a task, as eval.retain=[{{task: pocket}}]")
    if read_status(root).get("state") in OVER and not saved(root):
        raise TrainError(
            f"watch {root}: the run is over and kept no checkpoint (train.save_strategy, save_total_limit)"
        )


def saved(root: Path) -> list[Path]:
    """Checkpoints of a run folder, or of all runs of a pipeline."""
    return [file for folder in (root, *sorted(root.glob("stages/*"))) for file in checkpoints(folder).values()]


def first_screen(recipe: Recipe | Pipeline, root: Path) -> Iterator[str]:
    """What there is, what is asked, what is done first."""
    runs = runs_of(recipe)
    there = len(evaluations(root))
    state = read_status(root).get("state", "beginning")
    yield f"watch     {root}: {state}; checkpoints there: {len(saved(root))}, evaluations: {there}"
    asked = [
        *(f"{role} {spec.called}" for run in runs for role in ROLES for spec in getattr(run.eval, role)),
        *(f"loss of {spec.name}" for run in runs for spec in run.data.validation),
    ]
    yield f"eval      {', '.join(dict.fromkeys(asked))}"
    if not (root / "evals" / "step-0" / "summary.json").is_file():
        by_run = runs[0].eval.live and trains(root)
        yield f"base      {'left to the run' if by_run else f'measured first: {runs[0].model.path}'}"
    if any(run.eval.budget != Budget() for run in runs):
        yield "budget    a limit that is crossed is said and logged, no more: a watcher cannot act on the run"


def waits(once: bool, poll_s: float) -> str:
    """How it ends."""
    if once:
        return "once      measures what is there and leaves"
    return f"waits     looks every {poll_s:g} s; ends when the run is over and nothing is left; Ctrl-C leaves"
