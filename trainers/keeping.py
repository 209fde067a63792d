"""Which checkpoints stay on disk, and which one is the best.

Kept are the newest ones, to resume from; the best one's weights (`best` in the run folder points to it); where the
budget rolls back, or stops a run that is to be certified, the newest that kept it. All else is deleted as the run goes
on.
"""

import os
import shutil
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from eval_hooks import EvalError, ranks
from eval_hooks.catalog import row_of
from eval_hooks.config import Keep
from eval_hooks.files import COMPLETE, checkpoints, evaluations, mark_whole, saved_at, summary_of, whole_checkpoints
from eval_hooks.keep import best, condition, greater, known_keys, of_harness
from eval_hooks.storage.inside import remove
from trainers import TrainError, announce
from trainers.actions import last_good
from trainers.checkpoints.room import room
from trainers.recipe import Recipe
from trainers.rundir import Place

RESUMABLE = 2
"""Checkpoints to resume from that are kept where `train.save_total_limit` says nothing."""
RESUMING = ("optimizer.*", "scheduler.*", "rng_state*", "scaler.*", "global_step*", "latest", "trainer_state.json",
            "training_args.bin", "zero_to_fp32.py", "zero_to_torch.py", "method_state.pt", COMPLETE)  # fmt: skip
"""What a checkpoint has besides weights, configuration and tokenizer."""
GB = 1e9


def rule_of(recipe: Recipe) -> Keep | None:
    """What makes a checkpoint the best one: eval.keep, else train.metric_for_best_model."""
    if recipe.eval.keep is not None:
        return recipe.eval.keep
    key = recipe.train.get("metric_for_best_model")
    return Keep(by=key, greater_is_better=recipe.train.get("greater_is_better")) if key else None


def resumable(recipe: Recipe) -> int | None:
    """How many checkpoints to resume from are kept; None: all, so also where watchers still have to measure them."""
    return recipe.train.get("save_total_limit", RESUMABLE if recipe.eval.live else None)


class Complete(TrainerCallback):
    """After all ranks have written what is theirs of a checkpoint, its list of files: from then on it is whole."""

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """The last to write, so the last of the callbacks that write into checkpoints."""
        number, several = ranks.place()
        ranks.from_all({number: None})
        if state.is_world_process_zero:
            mark_whole(saved_at(args.output_dir, state.global_step), state.global_step, several)


def certifies_last_good(recipe: Recipe) -> bool:
    """Whether the newest checkpoint that kept the budget is to be certified at the end, though it need not be best."""
    return recipe.eval.certify and recipe.eval.budget.action == "stop"


class Keeping(TrainerCallback):
    """After each checkpoint, and at the end, when the last one has been measured."""

    def __init__(self, recipe: Recipe, place: Place) -> None:
        self.place, self.rule = place, rule_of(recipe)
        self.resumable = resumable(recipe)
        self.rolls_back = recipe.eval.budget.action == "roll_back"
        self.certifies_last_good = certifies_last_good(recipe)

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """The evaluation of this step came before."""
        if state.is_world_process_zero:
            self.tidy()

    def tidy(self) -> None:
        """Point `best` to the best checkpoint, and delete what nobody needs."""
        there = checkpoints(self.place.folder)
        chosen = best_step(self.rule, self.place) if self.rule else None
        if chosen:
            point(self.place.folder / "best", there[chosen])
        whole = list(whole_checkpoints(self.place.folder))
        to_resume = set(whole if self.resumable is None else whole[-self.resumable :])
        if self.rolls_back:
            to_resume.add(last_good(self.place))
        for_weights = {chosen} | ({last_good(self.place)} if self.certifies_last_good else set())
        for step, folder in there.items():
            if step in to_resume:
                continue
            if step in for_weights:
                leave_weights(folder, self.place.folder)
            else:
                remove(folder, self.place.folder)


def best_step(rule: Keep, place: Place) -> int | None:
    """The step of the best checkpoint that is there and was measured."""
    measured, there = evaluations(place.root), checkpoints(place.folder)
    found = best(rule, (summary_of(measured[place.offset + s]) for s in there if place.offset + s in measured))
    return None if found is None else found - place.offset


def point(link: Path, to: Path) -> None:
    """Make or move a symbolic link, so that it always points somewhere."""
    scratch = link.with_name(f".{link.name}-{os.getpid()}")
    scratch.symlink_to(os.path.relpath(to, link.parent))
    os.replace(scratch, link)


def leave_weights(folder: Path, root: Path) -> None:
    """Remove what only resuming needs from a checkpoint of the run folder `root`."""
    for pattern in RESUMING:
        for file in folder.glob(pattern):
            remove(file, root)


def say_best(place: Place, rule: Keep) -> int | None:
    """Tell which checkpoint is recommended, or that none holds."""
    step = best_step(rule, place)
    where = f"checkpoint-{step}, at {place.folder / 'best'}" if step else "none"
    why = f"by {rule.by}" + (f", where {rule.subject_to}" if rule.subject_to else "")
    announce(f"best      {where} ({why})")
    return step


def disk(recipe: Recipe, model: Any, folder: Path, half: bool) -> str:
    """What the checkpoints will take, in words; `half`: of a run in 16 bits.

    Raises TrainError where there is less room than that.
    """
    one = room(recipe, model, half)
    weights, whole = one.weights, one.whole
    limit = resumable(recipe)
    n = limit if limit is not None else "all"
    extra: float = (bool(rule_of(recipe)) + certifies_last_good(recipe)) * weights
    extra += whole if recipe.eval.budget.action == "roll_back" else 0
    need, free = (limit + 1 if limit else 1) * whole + extra, shutil.disk_usage(folder).free
    text = f"{n} checkpoints to resume from, {whole / GB:.2g} GB each; at most {need / GB:.2g} GB at a time"
    if need > free:
        raise TrainError(
            f"{folder}: {text}, and {free / GB:.2g} GB are free; set train.save_total_limit: 1, or --run-dir on "
            "another disk"
        )
    return f"{text}, {free / GB:.0f} GB free"


def check_roll_back(recipe: Recipe, arguments: Any) -> None:
    """Raise TrainError where a run could not roll back: it needs checkpoints at the steps that are measured."""
    if recipe.eval.budget.action != "roll_back":
        return
    every = recipe.eval.every
    as_epochs = every == "epoch" and arguments.save_strategy == "epoch"
    as_steps = arguments.save_strategy == "steps" and arguments.save_steps == every
    if every is None or not (as_epochs or as_steps):
        raise TrainError(
            f"eval.budget.action roll_back: needs a checkpoint wherever is measured (eval.every {every}), and "
            f"train.save_strategy is {arguments.save_strategy}, save_steps {arguments.save_steps}; set eval.every, and "
            "leave train.save_strategy and save_steps out"
        )


def check_rule(recipe: Recipe) -> None:
    """Raise TrainError where the best checkpoint is to be chosen by a key that no evaluation of the recipe logs."""
    rule = rule_of(recipe)
    if rule is None:
        return
    specs = (*recipe.eval.target, *recipe.eval.retain)
    tasks = {spec.called: row_of(spec.task).kind for spec in specs}
    known = known_keys(tasks, [spec.name for spec in recipe.data.validation])
    keys = [rule.by, *([condition(rule.subject_to)[0]] if rule.subject_to else [])]
    for key in keys:
        if key not in known and not of_harness(key, tasks):
            near = get_close_matches(key, known, n=3, cutoff=0.5)
            raise TrainError(
                f"eval.keep: no evaluation of this recipe logs {key!r}; near it: {', '.join(near) or 'nothing'} "
                f"(tasks: {', '.join(tasks) or 'none'})"
            )
    if not of_harness(rule.by, tasks) or rule.by in known:
        try:
            greater(rule, {spec.called: {"goal": spec.goal} for spec in specs})
        except EvalError as error:
            raise TrainError(str(error)) from error
