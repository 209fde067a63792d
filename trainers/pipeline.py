"""A pipeline, top to bottom: each run starts from what the one before recommends; one folder, one axis, one report.

Retention is paired with the start of the first run that is asked to keep a task, so with the very first base where
every run is; a target with the start of its own run. All is asked with the first base's
tokenizer and chat template.
"""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from data_mix import today
from eval_hooks.control import ledger
from eval_hooks.files import read_json
from eval_hooks.ranks import from_writer, on_writer
from eval_hooks.storage.aside import set_aside
from trainers import TrainError, announce, ranklog
from trainers.changes import Changed, as_kept, check_changes, may_change
from trainers.checkpoints.ownership import check_own
from trainers.environment import environment
from trainers.inputs import Inputs, inputs_of, read_inputs
from trainers.lastfit import forget_the_last_fit
from trainers.packages import require_packages
from trainers.recipe import Pipeline, PipelineStage, Recipe
from trainers.resume import keep_old, newest_step
from trainers.run import (
    DONE,
    FAILED,
    STATES,
    Run,
    carry_out,
    last_checkpoint,
    prepare,
)
from trainers.rundir import (
    RUNS,
    Claim,
    Place,
    begin_date,
    check_free,
    give_back,
    read_status,
    set_status,
    take,
    write_json,
    write_recipe,
)
from trainers.screen import show_end
from trainers.tracking import start_wandb, wandb_dir
from trainers.world import rank


def train_pipeline(
    pipeline: Pipeline,
    *,
    run_dir: Path | None = None,
    resume: bool = False,
    again: str | None = None,
    trust: bool = False,
    unchecked: bool = False,
) -> int:
    """Run all stages that are not done and return the exit code of the last one that ran.

    With `trust` a checkpoint is resumed from although somebody else could have put code into it; with `unchecked`
    although what a stage reads has changed.
    `again` names the stage to restart at: what it and those after it left behind is set aside, not deleted. What a
    person did wrong travels as a ValueError before the first stage begins.
    """
    check_free(run_dir, resume)
    begin_date((run_dir or RUNS / pipeline.name) if resume else None)
    if resume and not trust:
        _check_own(pipeline, run_dir or RUNS / pipeline.name)
    if resume:
        _check_done(pipeline, run_dir or RUNS / pipeline.name, again, unchecked)
    check(pipeline)
    begun = stage_folder(run_dir or RUNS / pipeline.name, 0, pipeline.stages[0].name) if resume else None
    first = prepare(pipeline.stages[0].recipe, begun)
    main = rank() == 0
    claim = from_writer(on_writer(partial(take, pipeline, run_dir, resume)))
    assert claim is not None
    root = claim.folder
    ranklog.settle(root)
    machine = environment(first.recipe, first.arguments, first.chosen)
    if main:
        if again or read_json(root / "recipe.resolved.json") not in ({}, as_kept(pipeline.resolved)):
            keep_old(root, Changed(lines=["recipe"]))
        write_recipe(root, pipeline)
        write_json(root / "recipe.resolved.json", pipeline.resolved)
        write_json(root / "environment.json", machine)
        set_status(root, "running", date=today.moment().isoformat())
        if again:
            restart_at(root, pipeline, again)
    from_writer(None)  # everybody waits until it is
    return _stages(pipeline, claim, first, resume, unchecked)


def _stages(pipeline: Pipeline, claim: Claim, first: Run, resume: bool, unchecked: bool) -> int:
    root = claim.folder
    main, begins, wandb_run, code = rank() == 0, [0], None, DONE
    if main:
        wandb_run = start_wandb(pipeline, root, pipeline.resolved)
    start: str | None = None
    for number, stage in enumerate(pipeline.stages):
        folder = stage_folder(root, number, stage.name)
        if not from_writer(main and finished(folder)):
            place = Place(
                folder=folder, root=root, offset=begins[-1], baselines=baselines(pipeline, number, begins),
                runs=judged(pipeline),
            )  # fmt: skip
            begun = from_writer(bool(read_status(folder)) if main else False)
            if main:
                (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
                announce(f"stage     {stage.name} ({number + 1} of {len(pipeline.stages)}), from step {begins[-1]}")
            with _told(claim, folder, stage.name, main, begun=resume or bool(begins[-1])):
                gone_on = folder if resume and begun else None
                run = first if number == 0 else prepare(starting_from(stage, start).recipe, gone_on)
                code = carry_out(run, place, resume and begun, wandb_run, unchecked)
                if main and code == DONE and steps_of(folder) < read_status(folder)["steps"]:
                    set_aside(root, f"after-the-best-of-{stage.name}", begins[-1] + steps_of(folder))
                del run
            forget_the_last_fit()
            if code != DONE:
                break
        begins.append(begins[-1] + from_writer(steps_of(folder) if main else 0))
        start = from_writer(recommended(folder) if main else "")
        if main:
            note_stages(root, pipeline)
    if main:
        note_stages(root, pipeline)
        set_status(root, STATES.get(code, "interrupted"), code, wandb_dir=wandb_dir(wandb_run))
        if code != FAILED:
            show_end(root, wandb_run)
    if code != FAILED:
        from_writer(None)  # all ranks end together, as those of a run of its own
    return code


@contextmanager
def _told(claim: Claim, folder: Path, name: str, main: bool, begun: bool) -> Iterator[None]:
    """Whatever ends a stage with an error, the pipeline's status says it; where nothing was trained, nothing stays."""
    try:
        yield
    except Exception as error:
        if main:
            give_back(Claim(folder=folder, made=True))
        if main and begun:
            text = f"stage {name}: {type(error).__name__}: {error}"
            set_status(claim.folder, "failed", FAILED, error=text)
        elif main:
            give_back(claim)
        raise


def check(pipeline: Pipeline) -> None:
    """Every later stage's data and items, before the first stage costs anything: with the first one's tokenizer."""
    from trainers.data import build_mix
    from trainers.evaluation import checkpoint_eval
    from trainers.models import load_tokenizer

    for stage in pipeline.stages:
        require_packages(stage.recipe)
    base = pipeline.stages[0].recipe.model.path
    for stage in pipeline.stages[1:]:
        recipe = starting_from(stage, base).recipe
        try:
            checkpoint_eval(recipe, build_mix(recipe, load_tokenizer(recipe.model), show=False).validation)
        except ValueError as error:
            raise TrainError(f"stage {stage.name}: {error}") from error


def starting_from(stage: PipelineStage, path: str | None) -> PipelineStage:
    """The stage on another model."""
    assert path is not None
    return replace(stage, recipe=replace(stage.recipe, model=replace(stage.recipe.model, path=path)))


def _check_own(pipeline: Pipeline, root: Path) -> None:
    for number, stage in enumerate(pipeline.stages):
        folder = stage_folder(root, number, stage.name)
        if not finished(folder):
            check_own(folder, newest_step(folder), stage.recipe, root)


def _check_done(pipeline: Pipeline, root: Path, again: str | None, unchecked: bool) -> None:
    """Raise TrainError with all that a stage which is done was and is no longer: it would not be run again.

    Stages from `again` on start anew, and one that has begun is looked at when it goes on.
    """
    names = [stage.name for stage in pipeline.stages]
    kept = names[: names.index(again)] if again in names else names
    own = [stage_folder(root, number, name).name for number, name in enumerate(names)]
    found = [f"{folder} is no stage of the recipe any more" for folder in _done(root) if folder not in own]
    for number, name in enumerate(kept):
        folder = stage_folder(root, number, name)
        if finished(folder):
            recipe = pipeline.stages[number].recipe
            try:
                check_changes(
                    folder, recipe, _read_by(pipeline, number, folder), unchecked=unchecked, may=has_no_effect
                )
            except TrainError as error:
                found.append(str(error))
    if found:
        raise TrainError(f"{'; '.join(found)}; --resume {root}:STAGE starts anew from a stage on")


def _read_by(pipeline: Pipeline, number: int, folder: Path) -> Inputs:
    """What a stage that is done would read now; of the model that only the first one's, later ones have a stage's."""
    from trainers.data import build_mix
    from trainers.models import load_tokenizer

    stage, base = pipeline.stages[number], pipeline.stages[0].recipe.model
    recipe = starting_from(stage, base.path).recipe
    mix = build_mix(recipe, load_tokenizer(recipe.model), show=False)
    now = inputs_of(stage.recipe, base, mix.manifest)
    own = now if number == 0 else read_inputs(folder)
    models = {what: one for what, one in own.items() if what.startswith("model/")}
    return {what: one for what, one in now.items() if not what.startswith("model/")} | models


def _done(root: Path) -> list[str]:
    """The names of the folders of stages that are done."""
    return sorted(folder.name for folder in root.glob("stages/*") if finished(folder))


def has_no_effect(key: str, recipe: Recipe) -> bool:
    """Whether a stage that is done is the same with another value of a key."""
    return may_change(key, recipe) and key not in ("train.max_steps", "train.num_train_epochs")


def stage_folder(root: Path, number: int, name: str) -> Path:
    """Where a stage keeps its recipe, manifest, status and checkpoints."""
    return root / "stages" / f"{number + 1}-{name}"


def finished(folder: Path) -> bool:
    """Whether a stage is done."""
    return read_status(folder).get("state") == "done"


def steps_of(folder: Path) -> int:
    """Optimizer steps of a stage that is done, up to what the next one starts from."""
    return int(read_status(folder).get("recommended") or read_status(folder)["steps"])


def recommended(folder: Path) -> str:
    """The checkpoint that the next stage starts from: the best one where the recipe says what that is, else the newest.

    Raises TrainError for a stage that saved none.
    """
    if (folder / "best").is_dir():
        return str((folder / "best").resolve())
    newest = last_checkpoint(folder)
    if newest is None:
        raise TrainError(f"{folder}: no checkpoint for the next stage to start from; leave save_strategy: no out")
    return newest


def baselines(pipeline: Pipeline, number: int, begins: Sequence[int]) -> Mapping[str, int]:
    """Task -> step it is paired with, in stage `number`: for a task to retain where it was first to be retained.

    `begins` are the steps at which the stages up to that one begin.
    """
    found = {}
    for spec in pipeline.stages[number].recipe.eval.retain:
        name = spec.called
        keepers = [i for i, stage in enumerate(pipeline.stages[: number + 1]) if name in _retained(stage)]
        found[name] = begins[keepers[0]]
    return found


def judged(pipeline: Pipeline) -> int:
    """How many of its runs measure something, and so share the chance of a wrong word."""
    return max(1, sum(bool(stage.recipe.eval.target or stage.recipe.eval.retain) for stage in pipeline.stages))


def _retained(stage: PipelineStage) -> set[str]:
    return {spec.called for spec in stage.recipe.eval.retain}


def note_stages(root: Path, pipeline: Pipeline) -> None:
    """pipeline.json: which steps are which stage's, for the report."""
    rows, begin = [], 0
    for number, stage in enumerate(pipeline.stages):
        folder = stage_folder(root, number, stage.name)
        if "steps" not in read_status(folder):
            break
        end = begin + steps_of(folder)
        rows.append({"name": stage.name, "stage": stage.recipe.stage, "method": stage.recipe.method.name,
                     "begin": begin, "end": end})  # fmt: skip
        begin = end
    write_json(root / "pipeline.json", {"stages": rows})


def restart_at(root: Path, pipeline: Pipeline, name: str) -> None:
    """Move what stage `name` and the later ones left behind into `aside/`, so that they start anew.

    Raises TrainError for a stage that is not there, or one whose predecessors are not done.
    """
    names = [stage.name for stage in pipeline.stages]
    if name not in names:
        raise TrainError(f"--resume: the pipeline has no stage {name!r}; there is: {', '.join(names)}")
    at = names.index(name)
    begin = 0
    for number in range(at):
        folder = stage_folder(root, number, names[number])
        if not finished(folder):
            raise TrainError(f"--resume: stage {names[number]} before {name} is not done; --resume alone goes on there")
        begin += steps_of(folder)
    aside = set_aside(root, name, begin)
    ledger.begin_anew(root, begin)
    for number in range(at, len(names)):
        folder = stage_folder(root, number, names[number])
        if folder.is_dir():
            (aside / "stages").mkdir(parents=True, exist_ok=True)
            shutil.move(folder, aside / "stages" / folder.name)
