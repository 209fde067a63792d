"""A run, top to bottom: folder, tokenizer, data, model, method, trainer, evaluation, report."""

import traceback
from pathlib import Path
from typing import Any

from trainers import TrainError, announce
from trainers.arguments import rank, starts_deepspeed, training_arguments
from trainers.catalog import METHODS, STAGES
from trainers.recipe import Recipe
from trainers.rundir import environment, set_status, take, write_json, write_recipe

DONE, STOPPED_BY_BUDGET, FAILED, INTERRUPTED = 0, 3, 4, 130


def train(recipe: Recipe, *, run_dir: Path | None = None, resume: bool = False) -> int:
    """Run a recipe and return the exit code.

    What a person did wrong travels as a ValueError of the package it was found in, before the first step.
    """
    main = rank() == 0
    folder = take(recipe, run_dir, resume or not main)
    if main:
        write_recipe(folder, recipe)
        write_json(folder / "environment.json", environment())
        set_status(folder, "running")
    started = Started()
    try:
        code = _train(recipe, folder, resume, main, started)
    except KeyboardInterrupt:
        code = _ended(folder, main, "interrupted", INTERRUPTED, "interrupted from the keyboard")
    except ValueError as error:
        if not started.stepping:
            _ended(folder, main, "failed", 2, str(error))
            raise
        code = _crashed(folder, main, error)
    except Exception as error:
        code = _crashed(folder, main, error)
    return code


class Started:
    """Whether the first training step has begun: what fails before it is the request's fault."""

    stepping = False


def _train(recipe: Recipe, folder: Path, resume: bool, main: bool, started: Started) -> int:
    import transformers

    from trainers.data import build_mix
    from trainers.evaluation import checkpoint_eval
    from trainers.models import check_precision, load_model, load_tokenizer, lora_config
    from trainers.tracking import LogTrain, start_wandb

    method = METHODS[recipe.method.name]
    arguments = training_arguments(recipe, folder)
    starts_deepspeed(recipe)
    transformers.set_seed(arguments.seed)

    tokenizer = load_tokenizer(recipe.model)
    mix = build_mix(recipe, tokenizer, arguments, show=main)
    if main:
        write_json(folder / "data.manifest.json", mix.manifest)

    model = load_model(recipe.model, tokenizer, quantised=recipe.adapter.kind == "qlora")
    check_precision(recipe, model)
    trainer = STAGES[recipe.stage].trainer()(
        method=method,
        method_config=recipe.method.config,
        model=model,
        args=arguments,
        train_dataset=mix.train,
        processing_class=tokenizer,
        peft_config=lora_config(recipe.adapter, tokenizer, recipe.model),
    )
    if main:
        announce_model(trainer.model, recipe)

    wandb_run = start_wandb(recipe, folder) if main else None
    measure, tracker = checkpoint_eval(recipe, folder, mix, tokenizer, wandb_run, main)
    trainer.add_callback(measure)
    if tracker is not None:
        trainer.add_callback(LogTrain(tracker))
    trainer.add_callback(_marks_start(started))
    trainer.train(resume_from_checkpoint=last_checkpoint(folder) if resume else None)
    trainer.save_state()
    return _finish(folder, main, measure.stopped, wandb_run)


def last_checkpoint(folder: Path) -> str | None:
    """The newest whole checkpoint of a run folder, or None."""
    whole = [f for f in (folder / "checkpoints").glob("checkpoint-*") if (f / "trainer_state.json").is_file()]
    return str(max(whole, key=lambda f: int(f.name.rpartition("-")[2]))) if whole else None


def announce_model(model: Any, recipe: Recipe) -> None:
    """Say what is trained: adapted modules, and the share of all parameters."""
    from trainers.models import adapted_modules, trainable_share

    trained, total = trainable_share(model)
    announce(
        f"model     {recipe.model.path}: {trained / 1e6:.2f}M of {total / 1e6:.1f}M parameters trained "
        f"({trained / total:.2%})"
    )
    if recipe.adapter.kind != "none":
        announce(f"adapter   {recipe.adapter.kind} on {', '.join(adapted_modules(model))}")


def _marks_start(started: Started) -> Any:
    from transformers import TrainerCallback

    class MarksStart(TrainerCallback):
        def on_step_begin(self, *args: Any, **kwargs: Any) -> None:
            started.stepping = True

    return MarksStart()


def _finish(folder: Path, main: bool, stopped: str | None, wandb_run: Any) -> int:
    code = STOPPED_BY_BUDGET if stopped else DONE
    if main:
        from eval_hooks.report import print_screen, write_report

        where = str(Path(wandb_run.dir).parent) if wandb_run is not None else None
        set_status(folder, "stopped" if stopped else "done", code, reason=stopped, wandb_dir=where)
        if wandb_run is not None:
            wandb_run.finish()
        write_report(folder)
        print_screen(folder)
    return code


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


__all__ = ["TrainError", "train"]
