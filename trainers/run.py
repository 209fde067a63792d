"""A run, top to bottom: tokenizer, data, folder, model, method, trainer, evaluation, report."""

import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_mix import DataError, today
from eval_hooks import EvalError
from eval_hooks.evaluate import half_precision
from eval_hooks.files import checkpoints, write_atomic, write_json
from eval_hooks.masking import masked_message
from eval_hooks.ranks import from_writer, on_writer
from eval_hooks.storage.inside import check_folder
from eval_hooks.storage.reading import reading, unreadable
from eval_hooks.track import Tracker
from eval_hooks.visible import visible
from eval_hooks.vllm import written_by
from trainers import TrainError, actions, announce, announce_all, ranklog
from trainers.arguments import starts_ranks, take_one_gpu, training_arguments
from trainers.certify import certify_run
from trainers.certify_subject import check_certify
from trainers.changes import Changed, check_changes
from trainers.checkpoints.ownership import check_own
from trainers.environment import environment
from trainers.eval_tokenizer import eval_tokenizer
from trainers.failures import advice
from trainers.inputs import FILE as INPUTS
from trainers.inputs import inputs_of
from trainers.keeping import Complete, Keeping, check_roll_back, check_rule, disk, rule_of, say_best
from trainers.lastfit import forget_the_last_fit
from trainers.machine import Chosen, choose_here, passes_of, say
from trainers.packages import require_packages
from trainers.recipe import ModelSection, Recipe
from trainers.resume import check_fork, decided, fork, go_on, keep_old, newest_step, note_start
from trainers.rundir import RUNS, Claim, Place, begin_date, check_free, give_back, set_status, take, write_recipe
from trainers.screen import announce_model, note_doing, note_measured, show_end
from trainers.tracking import LogTrain, start_wandb, wandb_dir
from trainers.universal import other_ranks
from trainers.world import named, rank, world_size

if TYPE_CHECKING:
    from transformers import TrainerCallback

    from data_mix.build import Mix
    from eval_hooks.callback import CheckpointEval
    from trainers.signals import StopOnSignal

DONE, WRONG_REQUEST, STOPPED_BY_BUDGET, FAILED, INTERRUPTED = 0, 2, 3, 4, 130
STATES = {DONE: "done", STOPPED_BY_BUDGET: "stopped", FAILED: "failed"}
"""Exit code -> state of a run; any other code is a signal's: interrupted."""


def train(
    recipe: Recipe,
    *,
    run_dir: Path | None = None,
    resume: bool = False,
    origin: tuple[Path, int] | None = None,
    trust: bool = False,
    unchecked: bool = False,
) -> int:
    """Run a recipe and return the exit code; `origin` is another run's folder and the step to begin at.

    With `trust` a checkpoint is resumed from although somebody else could have put code into it; with `unchecked`
    although what the run reads has changed.
    What a person did wrong travels as a ValueError of the package it was found in; then no run folder is left behind.
    """
    check_free(run_dir, resume)
    changed = Changed()
    own = run_dir or RUNS / recipe.name
    begin_date(origin[0] if origin else own if resume else None)
    with reading(origin[0] if origin else own):
        if origin:
            check_folder(origin[0])
            check_fork(*origin)
            changed = check_changes(origin[0], recipe)
        if not trust and (resume or origin):
            check_own(*(origin or (own, newest_step(own))), recipe)
    run = prepare(recipe, begun=origin[0] if origin else own if resume else None)
    claim = from_writer(on_writer(partial(take, recipe, run_dir, resume)))
    assert claim is not None
    with given_back(claim, fresh=not resume):
        if origin:
            with reading(origin[0]):
                on_writer(partial(fork, *origin, claim.folder, changed.lines))
        ranklog.settle(claim.folder)
        place = Place(folder=claim.folder, root=claim.folder)
        return carry_out(run, place, resume or origin is not None, unchecked=unchecked)


@contextmanager
def given_back(claim: Claim, fresh: bool) -> Iterator[None]:
    """Where a request turns out wrong before anything is trained, a folder that was taken for it is given back."""
    try:
        yield
    except (TrainError, DataError, EvalError):
        if fresh and rank() == 0:
            give_back(claim)
        raise


@dataclass(frozen=True, kw_only=True)
class Run:
    """What a run has before its model is loaded."""

    recipe: Recipe
    tokenizer: Any
    start: ModelSection
    """The model as the recipe names it, before an adapter is merged."""
    mix: "Mix"
    measure: "CheckpointEval"
    signals: "StopOnSignal"
    arguments: Any
    """The stage's config."""
    chosen: Chosen
    """What the recipe left to the machine."""
    resolved: Mapping[str, Any]
    """The recipe and all arguments as plain data, for recipe.resolved.json and W&B."""
    also: "Sequence[TrainerCallback]" = ()
    """Callbacks that watch the run, called before the run's own."""


def prepare(recipe: Recipe, begun: Path | None = None) -> Run:
    """Everything that can be wrong with a request, before a folder is taken or weights are loaded.

    `begun` is the folder of the run that is gone on with.
    """
    from trainers.data import build_mix
    from trainers.evaluation import checkpoint_eval
    from trainers.models import load_tokenizer, starting_point
    from trainers.signals import StopOnSignal

    require_packages(recipe)
    take_one_gpu(recipe)
    start, recipe = recipe.model, replace(recipe, model=starting_point(recipe.model))
    tokenizer = load_tokenizer(recipe.model)
    mix = build_mix(recipe, tokenizer, show=rank() == 0)  # before the process group, whose timeouts tokenisation hits
    measure = checkpoint_eval(recipe, mix.validation)
    starts_ranks(recipe)
    if told_otherwise(tokenizer.chat_template):
        mix = build_mix(recipe, tokenizer, show=False)
        measure = checkpoint_eval(recipe, mix.validation)
    chosen = choose_here(recipe, begun)
    arguments, measure.size = training_arguments(recipe, chosen), passes_of(chosen)
    check_roll_back(recipe, arguments)
    check_rule(recipe)
    check_certify(recipe)
    return Run(
        recipe=recipe,
        tokenizer=tokenizer,
        start=start,
        mix=mix,
        measure=measure,
        signals=StopOnSignal(measure),
        arguments=arguments,
        chosen=chosen,
        resolved={**recipe.resolved, "arguments": arguments.to_dict()},
    )


def told_otherwise(template: Any) -> bool:
    """Take the first rank's moment; whether this one's templates have been told another: it began after midnight."""
    before = today.told(template)
    today.set_moment(from_writer(today.moment().isoformat()), "rank 0")
    return today.told(template) != before


def carry_out(run: Run, place: Place, resume: bool, wandb_run: Any = None, unchecked: bool = False) -> int:
    """Train where `place` says and return the exit code; W&B goes on with `wandb_run`, or starts."""
    folder, measure = place.folder, run.measure
    run.arguments.output_dir, run.arguments.run_name = str(folder / "checkpoints"), place.root.name
    measure.out, measure.offset, measure.baselines = place.root, place.offset, place.baselines
    measure.runs = place.runs
    with reading(folder):
        read = on_writer(partial(inputs_of, run.recipe, run.start, run.mix.manifest))
        compared = partial(check_changes, folder, run.recipe, read, unchecked=unchecked)
        changed = on_writer(compared) if resume else None
        measure.tokenizer, measure.template_kwargs = eval_tokenizer(
            place.root, run.tokenizer, run.recipe.model, main=rank() == 0
        )
    machine = environment(run.recipe, run.arguments, run.chosen)
    if rank() == 0:
        say(run.chosen)
        assert read is not None
        set_status(folder, "running", date=today.moment().isoformat())
        keep_old(folder, changed)
        write_json(folder / INPUTS, read)
        write_recipe(folder, run.recipe)
        write_json(folder / "recipe.resolved.json", run.resolved)
        write_json(folder / "environment.json", machine)
        write_json(folder / "data.manifest.json", run.mix.manifest)
        note_start(folder, changed)
    return _guarded(run, place, resume, wandb_run)


def _guarded(run: Run, place: Place, resume: bool, wandb_run: Any) -> int:
    """Train; whatever happens, status.json says it."""
    main, folder = rank() == 0, place.folder
    run.signals.at_once = lambda code: _ended(folder, main, "interrupted", code, "a second signal; --resume goes on")
    try:
        return _train(run, place, resume, wandb_run)
    except KeyboardInterrupt:
        return _ended(folder, main, "interrupted", run.signals.code or INTERRUPTED, "interrupted; --resume goes on")
    except SystemExit as end:  # a signal before the first step, or after the last
        return _ended(folder, main, "interrupted", int(end.code or 0), "stopped by a signal; nothing was being trained")
    except (TrainError, DataError, EvalError) as error:
        if run.signals.started:
            return _crashed(run, folder, error)
        if main and resume:
            set_status(folder, "failed", WRONG_REQUEST, error=str(error))
        raise
    except Exception as error:
        if resume and not run.signals.started and advice(error, folder, run.recipe) is None:
            raise _not_resumed(folder, error) from error
        return _crashed(run, folder, error)
    finally:
        run.signals.give_back()


def _train(run: Run, place: Place, resume: bool, wandb_run: Any) -> int:
    main = rank() == 0
    step = from_writer(on_writer(partial(go_on, place)) if resume else 0)
    assert step is not None
    newest = checkpoint_at(place.folder, step)
    taken, stopped = from_writer(on_writer(partial(decided, place, step)) or ([], None))
    run = _as_acted(run, taken)
    if main:
        wandb_run = wandb_run or start_wandb(run.recipe, place.root, run.resolved)
        run.measure.tracker = Tracker(place.root, wandb_run, place.offset, run.recipe.tensorboard)
        if resume:
            run.measure.tracker.catch_up()
        run.measure.on_begin = partial(note_doing, place.folder)
        run.measure.on_summary = partial(note_measured, place.folder)
    steps, run.measure.stopped = step, stopped
    while not stopped:
        run.measure.go_on(len(taken))
        steps = _fit(run, place, newest, taken)
        due = run.measure.due
        if run.signals.code or due is None:
            break
        done = from_writer(on_writer(partial(actions.carry_out, due, place)))
        assert done is not None
        taken = [*taken, done]
        _say(run, done)
        run, newest = _as_acted(run, taken), checkpoint_at(place.folder, done.back_to)
        if main:
            write_json(place.folder / "data.manifest.json", run.mix.manifest)
        forget_the_last_fit()
    if run.signals.code:
        text = "stopped by a signal; --resume goes on"
        _ended(place.folder, main, "interrupted", run.signals.code, text)
    elif main:
        _whole_end(run, place, wandb_run, steps)
    from_writer(None)  # a launcher ends all ranks as soon as one has ended with a code, so all end together
    return run.signals.code or (STOPPED_BY_BUDGET if run.measure.stopped else DONE)


def _whole_end(run: Run, place: Place, wandb_run: Any, steps: int) -> None:
    """What the run came to, in status.json and on the screen: the checkpoint to ship, or the last one that was good."""
    reason, rule = run.measure.stopped, rule_of(run.recipe)
    code, found = STOPPED_BY_BUDGET if reason else DONE, dict[str, Any]()
    if reason:
        found["last_good"] = actions.last_good(place)
        where = checkpoint_at(place.folder, found["last_good"]) or "none, only the start did"
        announce(f"stopped   the last checkpoint that kept the budget: {where}")
    if rule:
        found["recommended"] = say_best(place, rule)
    if run.recipe.eval.certify:
        forget_the_last_fit()
        wanted = [step for step in (steps, found.get("recommended"), found.get("last_good")) if step]
        found["certificates"] = certify_run(run.recipe, place, wanted, run.measure.tracker)
    set_status(place.folder, STATES[code], code, reason=reason, wandb_dir=wandb_dir(wandb_run), steps=steps, **found)
    if place.alone:
        show_end(place.folder, wandb_run)


def _as_acted(run: Run, taken: Sequence[actions.Taken]) -> Run:
    """The run with what its budget's actions changed: the mix, or an argument."""
    from trainers.data import build_mix

    rows = {name: entry["rows"] for name, entry in run.mix.manifest["train"].items()}
    recipe = actions.recipe_after(run.recipe, taken, rows)
    if recipe.data != run.recipe.data:
        run = replace(run, mix=build_mix(recipe, run.tokenizer, show=rank() == 0))
    for name, value in recipe.train.items():
        if value != run.recipe.train.get(name):
            setattr(run.arguments, name, value)
    return run


def _fit(run: Run, place: Place, newest: str | None, taken: Sequence[actions.Taken]) -> int:
    """Set a trainer up, and train from a checkpoint or the start to the end, or to where the budget or a signal stops.

    Returns the step reached.
    """
    import transformers

    from trainers.adapters import trainable_share
    from trainers.anchor import Pull
    from trainers.assemble import trainer_of
    from trainers.badbatch import LossCheck
    from trainers.logline import LogLine
    from trainers.models import check_precision, load_model
    from trainers.moments import Moments
    from trainers.reference import reference_copy
    from trainers.sequence import OwnAttention, ranks_of_a_row

    recipe = run.recipe
    transformers.set_seed(run.arguments.seed)
    model = load_model(recipe.model, run.tokenizer, quantised=recipe.adapter.kind == "qlora")
    half = bool(half_precision(run.arguments))
    check_precision(recipe, model, half)
    texts = actions.anchored(recipe, taken)
    reference = reference_copy(recipe, run.tokenizer, model, pulled=texts is not None)
    trainer = trainer_of(recipe, run.arguments, run.mix.train, run.tokenizer, model, reference)
    trainer.check = LossCheck(run.tokenizer, recipe, place.folder)
    if texts:
        trainer.pull = Pull(start=trainer.start, weight=recipe.eval.budget.kl.weight, texts=texts)
    if rank() == 0:
        announce_model(trainer.model, recipe)
        announce(f"disk      {disk(recipe, trainer.model, place.folder, half)}")
        assert run.measure.tracker is not None
        trainer.add_callback(LogTrain(run.measure.tracker))
    slowed = actions.slowed(recipe, taken)
    mended = other_ranks(recipe, run.arguments, newest)
    keeping = Keeping(recipe, place)
    run.measure.writing = partial(written_by, trainer) if getattr(trainer, "use_vllm", False) else None
    measure = [run.measure] if recipe.eval.live else []
    late = [one for one in (slowed, mended) if one]
    first = [*run.also, *([OwnAttention(recipe.model.attn_implementation)] if ranks_of_a_row(recipe) > 1 else [])]
    line = [LogLine(*trainable_share(trainer.model))] if rank() == 0 else []
    moments = Moments(trainer.bound, trainer, newest)  # before the model is measured, since it may change the model
    own = [*line, *first, moments, *measure, run.signals, Complete(), keeping, *late]
    for callback in (transformers.ProgressCallback, transformers.PrinterCallback):
        trainer.remove_callback(callback)
    for callback in own:
        trainer.add_callback(callback)
    try:
        trainer.train(resume_from_checkpoint=newest)
    finally:
        run.measure.writing = None  # it would keep the trainer, and its model, in memory
        if not run.signals.code:  # else they are still being heard, for ranks that they reach late
            run.signals.give_back()
    trainer.save_state()
    run.arguments.max_steps = trainer.state.max_steps  # also of a run in epochs, whose mix may grow when it goes on
    if rank() == 0:
        keeping.tidy()
    return trainer.state.global_step


def _say(run: Run, taken: actions.Taken) -> None:
    """An action, where it is seen: on the screen, and in the numbers at the step that training goes on from."""
    text = f"{taken.action} at step {taken.step}, on from step {taken.back_to}: {taken.reason}"
    announce(f"budget    {text}")
    if run.measure.tracker:
        run.measure.tracker.log(taken.back_to, {"budget/action": taken.action, "budget/reason": text})


def checkpoint_at(folder: Path, step: int) -> str | None:
    """The checkpoint of a step; None for the start."""
    return str(checkpoints(folder)[step]) if step else None


def last_checkpoint(folder: Path) -> str | None:
    """The newest whole checkpoint of a run folder, or None."""
    return checkpoint_at(folder, newest_step(folder))


def _ended(folder: Path, main: bool, state: str, code: int, error: str) -> int:
    if main:
        set_status(folder, state, code, error=error)
    return code


def _not_resumed(folder: Path, error: Exception) -> TrainError:
    """What a folder could not be gone on with for, before its first step: nothing was trained."""
    said = f"--resume {folder}: {unreadable(error)}"
    if rank() == 0:
        write_atomic(folder / "traceback.txt", visible(masked_message(traceback.format_exc())).encode())
        set_status(folder, "failed", WRONG_REQUEST, error=said)
    return TrainError(f"{said}; model.path=RUN:STEP begins anew from the weights")


def _crashed(run: Run, folder: Path, error: Exception) -> int:
    """The traceback goes to the run folder; to this rank's screen and log where nobody can say what to do."""
    text, known, main = traceback.format_exc(), advice(error, folder, run.recipe), rank() == 0
    if known is None:
        announce_all(text)
    else:
        announce(f"failed    {known}")
    said = known or f"{type(error).__name__}: {error}"
    ranklog.failed(said)
    if main:
        with suppress(OSError, EvalError):  # a full disk: the screen has it
            write_atomic(folder / "traceback.txt", visible(masked_message(text)).encode())
            return _ended(folder, main, "failed", FAILED, said if world_size() == 1 else f"{named()}: {said}")
    return FAILED
