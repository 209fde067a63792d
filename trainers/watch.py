"""`temper watch`: measures a run's checkpoints as they appear, in a process of its own, on any machine with its folder.

Several watchers share the work: each claims a step before it measures it. What the run has measured itself stays.
"""

import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from eval_hooks.budget import crossed
from eval_hooks.claims import STALE_S, claimed, holder
from eval_hooks.config import Budget
from eval_hooks.report import print_screen, write_report
from eval_hooks.track import Tracker
from trainers import announce
from trainers.models import forget
from trainers.pipeline import baselines, finished, judged, recommended, stage_folder, starting_from, steps_of
from trainers.recipe import Pipeline, Recipe
from trainers.run import DONE
from trainers.rundir import Place, read_status
from trainers.screen import attempt, say_evaluation
from trainers.tracking import join_wandb
from trainers.watch_screen import OVER, check, first_screen, waits
from trainers.watched import CannotBeLoadedError, Watched, open_run

TERMINATED = 143


def watch(
    recipe: Recipe | Pipeline, root: Path, *, once: bool = False, poll_s: float = 30.0, trust: bool = False
) -> int:
    """Measure what is there and what comes until the run is over; with `once`, what is there. Return the exit code.

    With `trust` a W&B run that is online is joined, in the account and project that the folder names.

    Raises TrainError for a run that asks nothing, and for one that is over and kept no checkpoint.
    """
    check(recipe, root)
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))  # so that claims are given back
    wandb_run, joined = join_wandb(recipe, root, trust)
    for line in (*first_screen(recipe, root), f"W&B       {joined}", waits(once, poll_s)):
        announce(line)
    opened: dict[Path, Watched] = {}
    told: set[int] = set()
    measured = 0
    try:
        while True:
            last = once or read_status(root).get("state") in OVER  # asked first: what was saved before it is then seen
            runs, count = [], 0
            for run in begun(recipe, root, opened):
                run.measure.tracker = run.measure.tracker or Tracker(root, wandb_run, offset=run.place.offset)
                count += sweep(run, told)
                runs.append(run)
            measured += count
            if last and not any(run.todo() for run in runs):
                break
            if not count:
                time.sleep(poll_s)
    finally:
        signal.signal(signal.SIGTERM, before)
        if wandb_run is not None:
            wandb_run.finish()
    announce(f"watch     evaluations made: {measured}; nothing is left")
    if measured and read_status(root).get("state") in OVER:
        attempt("the report", partial(write_report, root))
        attempt("the last screen", partial(print_screen, root))
    return DONE


def begun(recipe: Recipe | Pipeline, root: Path, opened: dict[Path, Watched]) -> Iterator[Watched]:
    """The run, or those of a pipeline that have begun, in order: each is opened once.

    One that has steps left is the last: the runs behind it are paired with its start, and begin at its end.
    """
    if isinstance(recipe, Recipe):
        if (root / "status.json").is_file():
            yield opened.get(root) or opened.setdefault(root, open_run(recipe, Place(folder=root, root=root)))
        return
    begins, start = [0], None
    for number, stage in enumerate(recipe.stages):
        folder = stage_folder(root, number, stage.name)
        if not (folder / "status.json").is_file():
            return
        if folder not in opened:
            place = Place(
                folder=folder, root=root, offset=begins[-1], baselines=baselines(recipe, number, begins),
                runs=judged(recipe),
            )  # fmt: skip
            opened[folder] = open_run((starting_from(stage, start) if start else stage).recipe, place)
        run = opened[folder]
        yield run
        if run.todo() or not (run.done(0) and finished(folder)):
            return
        begins.append(begins[-1] + steps_of(folder))
        start = recommended(folder)


def sweep(run: Watched, told: set[int]) -> int:
    """Measure all of a run that is there and that nobody else has; return how many. `told`: steps held, as was said."""
    run.measure.on_summary = teller(run.recipe.eval.budget)
    count = 0
    for step in run.todo():
        at = run.place.offset + step
        name, folder = f"step-{at}", run.place.root / "evals"
        with claimed(folder, name) as mine:
            if not mine:
                if at not in told and (who := holder(folder, name)):
                    announce(f"step {at:<5}held by {who}; taken over after {STALE_S:.0f} s of silence")
                    told.add(at)
            elif not run.done(step):  # by another watcher, between looking and claiming
                count += scored(run, step)
        forget()
    return count


def scored(run: Watched, step: int) -> bool:
    """Whether a step could be measured."""
    try:
        run.score(step)
    except CannotBeLoadedError as error:
        announce(f"step {run.place.offset + step:<5}skipped: {error}")
        return False
    return True


def teller(budget: Budget) -> Callable[[Mapping[str, Any]], None]:
    """Says an evaluation as the run would, and what it has crossed."""

    def tell(summary: Mapping[str, Any]) -> None:
        attempt("the evaluation", partial(say_evaluation, summary))
        for reason in crossed(budget, summary):
            announce(f"budget    crossed: {reason}")

    return tell
