"""A run, top to bottom: tokenizer, data, folder, model, method, trainer, evaluation, report."""

import traceback
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_mix import DataError
from eval_hooks import EvalError
from eval_hooks.files import checkpoints
from eval_hooks.ranks import from_writer
from eval_hooks.track import Tracker
from trainers import TrainError, announce
from trainers.arguments import rank, starts_deepspeed, take_one_gpu, training_arguments
from trainers.catalog import METHODS, STAGES
from trainers.eval_tokenizer import eval_tokenizer
from trainers.recipe import Recipe
from trainers.rundir import Place, check_free, environment, give_back, set_status, take, write_json, write_recipe

if TYPE_CHECKING:
    from data_mix.build import Mix
    from eval_hooks.callback import CheckpointEval
    from trainers.signals import StopOnSignal

DONE, STOPPED_BY_BUDGET, FAILED, INTERRUPTED = 0, 3, 4, 130
STATES = {DONE: "done", STOPPED_BY_BUDGET: "stopped", FAILED: "failed"}
"""Exit code -> state of a run; any other code is a signal's: interrupted."""


def train(recipe: Recipe, *, run_dir: Path | None = None, resume: bool = False) -> int:
    """Run a recipe and return the exit code.

    What a person did wrong travels as a ValueError of the package it was found in; then no run folder is left behind.
    """
    check_free(run_dir, resume)
    run = prepare(recipe)
    folder = from_writer(take(recipe, run_dir, resume) if rank() == 0 else Path())
    return carry_out(run, Place(folder=folder, root=folder), resume)


@dataclass(frozen=True, kw_only=True)
class Run:
    """What a run has before its model is loaded."""

    recipe: Recipe
    tokenizer: Any
    mix: "Mix"
    measure: "CheckpointEval"
    signals: "StopOnSignal"
    arguments: Any
    """The stage's config."""
    resolved: Mapping[str, Any]
    """The recipe and all arguments as plain data, for recipe.resolved.json and W&B."""


def prepare(recipe: Recipe) -> Run:
    """Everything that can be wrong with a request, before a folder is taken or weights are loaded."""
    from trainers.data import build_mix
    from trainers.evaluation import checkpoint_eval
    from trainers.models import load_tokenizer, starting_point
    from trainers.signals import StopOnSignal

    take_one_gpu(recipe)
    recipe = replace(recipe, model=starting_point(recipe.model))
    tokenizer = load_tokenizer(recipe.model)
    mix = build_mix(recipe, tokenizer, show=rank() == 0)  # before the process group, whose timeouts tokenisation hits
    measure = checkpoint_eval(recipe, mix)
    starts_deepspeed(recipe)
    arguments = training_arguments(recipe)
    return Run(
        recipe=recipe,
        tokenizer=tokenizer,
        mix=mix,
        measure=measure,
        signals=StopOnSignal(measure),
        arguments=arguments,
        resolved={**recipe.resolved, "arguments": arguments.to_dict()},
    )


def carry_out(run: Run, place: Place, resume: bool, wandb_run: Any = None) -> int:
    """Train where `place` says and return the exit code; W&B goes on with `wandb_run`, or starts."""
    folder, measure = place.folder, run.measure
    run.arguments.output_dir, run.arguments.run_name = str(folder / "checkpoints"), place.root.name
    measure.out, measure.offset, measure.baselines = place.root, place.offset, place.baselines
    measure.tokenizer, measure.template_kwargs = eval_tokenizer(
        place.root, run.tokenizer, run.recipe.model, main=rank() == 0
    )
    if rank() == 0:
        write_recipe(folder, run.recipe)
        write_json(folder / "recipe.resolved.json", run.resolved)
        write_json(folder / "environment.json", environment())
        write_json(folder / "data.manifest.json", run.mix.manifest)
        set_status(folder, "running")
    return _guarded(run, place, resume, wandb_run)


def _guarded(run: Run, place: Place, resume: bool, wandb_run: Any) -> int:
    """Train; whatever happens, status.json says it."""
    main, folder = rank() == 0, place.folder
    try:
        return _train(run, place, resume, wandb_run)
    except KeyboardInterrupt:
        return _ended(folder, main, "interrupted", INTERRUPTED, "interrupted from the keyboard")
    except (TrainError, DataError, EvalError) as error:
        if run.signals.started:
            return _crashed(folder, main, error)
        if main and not resume:
            give_back(folder)
        raise
    except Exception as error:
        return _crashed(folder, main, error)


def _train(run: Run, place: Place, resume: bool, wandb_run: Any) -> int:
    import transformers

    from trainers.adapters import lora_config
    from trainers.models import check_precision, load_model
    from trainers.moments import Bound, Moments
    from trainers.reference import reference_copy
    from trainers.tracking import LogTrain, start_wandb

    main, recipe = rank() == 0, run.recipe
    transformers.set_seed(run.arguments.seed)
    model = load_model(recipe.model, run.tokenizer, quantised=recipe.adapter.kind == "qlora")
    check_precision(recipe, model)
    method = METHODS[recipe.method.name]
    bound = Bound(method=method, config=recipe.method.config)
    trainer = (method.trainer or STAGES[recipe.stage].trainer)()(
        bound=bound,
        model=model,
        args=run.arguments,
        rows=run.mix.train,
        tokenizer=run.tokenizer,
        peft_config=lora_config(recipe.adapter, run.tokenizer, recipe.model, model),
        **reference_copy(recipe, run.tokenizer),
    )
    newest = last_checkpoint(place.folder) if resume else None
    trainer.add_callback(run.measure)
    if main:
        announce_model(trainer.model, recipe)
        wandb_run = wandb_run or start_wandb(recipe, place.root, run.resolved)
        run.measure.tracker = Tracker(place.root, wandb_run, offset=place.offset)
        run.measure.on_summary = say_doubts
        trainer.add_callback(LogTrain(run.measure.tracker))
    trainer.add_callback(run.signals)
    trainer.add_callback(Moments(bound, trainer, newest))
    try:
        trainer.train(resume_from_checkpoint=newest)
    finally:
        run.signals.give_back()
    trainer.save_state()
    if run.signals.code:
        text = "stopped by a signal; --resume goes on"
        return _ended(place.folder, main, "interrupted", run.signals.code, text)
    code = STOPPED_BY_BUDGET if run.measure.stopped else DONE
    if main:
        where, steps = wandb_dir(wandb_run), trainer.state.global_step
        set_status(place.folder, STATES[code], code, reason=run.measure.stopped, wandb_dir=where, steps=steps)
        if place.alone:
            show_end(place.folder, wandb_run)
    return code


def say_doubts(summary: Mapping[str, Any]) -> None:
    """At step 0, before the run has cost anything: which numbers can't show a loss, and where measuring is slow."""
    from eval_hooks.report.words import doubts, unshared_words

    if summary["step"] == 0 and summary["unshared"]:
        announce(f"measuring {unshared_words(summary)}")
    for name, task in summary["tasks"].items() if summary["step"] == 0 else ():
        for doubt in doubts(name, task):
            announce(f"beware    {doubt}")


def wandb_dir(wandb_run: Any) -> str | None:
    """The folder that `wandb sync` takes."""
    return str(Path(wandb_run.dir).parent) if wandb_run is not None else None


def show_end(folder: Path, wandb_run: Any) -> None:
    """Close W&B, write the report, print the last screen."""
    from eval_hooks.report import print_screen, write_report

    if wandb_run is not None:
        wandb_run.finish()
    write_report(folder)
    print_screen(folder)


def last_checkpoint(folder: Path) -> str | None:
    """The newest whole checkpoint of a run folder, or None."""
    whole = [file for file in checkpoints(folder).values() if (file / "trainer_state.json").is_file()]
    return str(whole[-1]) if whole else None


def announce_model(model: Any, recipe: Recipe) -> None:
    """Say what is trained: adapted modules, and the share of all parameters."""
    from trainers.adapters import adapted_modules, missed_experts, trainable_share

    trained, total = trainable_share(model)
    counts = f"{trained / 1e6:.2f}M of {total / 1e6:.1f}M parameters trained ({trained / total:.2%})"
    announce(f"model     {recipe.resolved['model']['path']}: {counts}")
    if recipe.adapter.kind != "none":
        announce(f"adapter   {recipe.adapter.kind} on {', '.join(adapted_modules(model))}")
        missed, share = missed_experts(model)
        if missed:
            announce(
                f"warning   {share:.0%} of the weights are fused experts, which adapter.target_modules does not reach; "
                f"to train them too: adapter.target_parameters=[{', '.join(missed)}]"
            )


def _ended(folder: Path, main: bool, state: str, code: int, error: str) -> int:
    if main:
        set_status(folder, state, code, error=error)
    return code


def _crashed(folder: Path, main: bool, error: Exception) -> int:
    """The traceback goes to the screen and to the run folder."""
    text = traceback.format_exc()
    announce(text)
    if main:
        (folder / "traceback.txt").write_text(text, "utf-8")
    return _ended(folder, main, "failed", FAILED, f"{type(error).__name__}: {error}")
