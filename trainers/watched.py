"""One run as a watcher sees it: which checkpoints are to be measured, how one is loaded, how one is scored.

A checkpoint is scored by the trainer's own callback, driven as a Trainer drives it, on a model that is prepared as a
Trainer prepares it: so files, keys and numbers are those that the run itself would have made.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from data_mix import DataError
from eval_hooks import CheckpointEval, EvalError
from eval_hooks.control.schedule import period_of
from eval_hooks.evaluate import autocast, half_precision, known_entry, other_prompts
from eval_hooks.files import read_json, summary_of, whole_checkpoints
from trainers import TrainError, announce
from trainers.recipe import Recipe
from trainers.rundir import Place, keep_date, trains

WEIGHTS = ("*.safetensors", "pytorch_model*.bin", "adapter_model.bin")


class CannotBeLoadedError(Exception):
    """Why a checkpoint is skipped."""


@dataclass(kw_only=True)
class Watched:
    """A run, or one of a pipeline, and what this watcher has done about it."""

    recipe: Recipe
    """Its `model` is what training started from."""
    place: Place
    arguments: Any
    """The trainer's own, as it resolved them."""
    tokenizer: Any
    measure: CheckpointEval
    tried: set[int] = field(default_factory=set)
    """Steps that are not looked at again: they were measured, or cannot be."""
    rendered: bool = False

    def todo(self) -> list[int]:
        """Steps of the run that are to be measured now, in order; the start comes first, and then alone.

        Nothing can be paired before it is measured.
        """
        there = [0] if not self.done(0) else list(whole_checkpoints(self.place.folder))
        return [step for step in there if not self.done(step) and not self.left_to_trainer(step)]

    def done(self, step: int) -> bool:
        """Whether every task of a step has its numbers, or all has been done that can be."""
        names = [spec.called for spec, _ in self.measure.entries]
        if step in self.tried or not (names or self.measure.held_out):
            return True
        folder = self.measure.folder(step)
        held = summary_of(folder).get("validation", {})
        return (folder / "summary.json").is_file() and (
            all(known_entry(folder, name) for name in names) and all(name in held for name in self.measure.held_out)
        )

    def left_to_trainer(self, step: int) -> bool:
        """Whether the run is at work and measures that step itself: the start, what `eval.every` says, the last one."""
        section = self.recipe.eval
        if not section.live or (self.measure.folder(step) / "summary.json").is_file() or not trains(self.place.folder):
            return False
        state = self._state(step)
        period = period_of(section.every, state.max_steps)
        at_epoch = section.every == "epoch" and state.epoch is not None and float(state.epoch).is_integer()
        return step in (0, state.max_steps) or bool(period and step % period == 0) or at_epoch

    def score(self, step: int) -> None:
        """Load a checkpoint, or the start, and measure it; what is there already stays.

        Raises CannotBeLoadedError for a checkpoint without weights, or gone meanwhile; EvalError where the run's own
        numbers were made with other prompts.
        """
        from transformers import TrainerControl

        self.tried.add(step)
        model, state, control = self._loaded(step), self._state(step), TrainerControl()
        if not self.rendered:  # measures the start, where that is the step
            self.measure.on_train_begin(self.arguments, state, control, model=model, processing_class=self.tokenizer)
            self._check_prompts()
            self.rendered = True
        if step:
            self.measure.on_step_end(self.arguments, state, control, model=model)

    def _state(self, step: int) -> Any:
        from transformers import TrainerState

        file = self.place.folder / "checkpoints" / f"checkpoint-{step}" / "trainer_state.json"
        return TrainerState.load_from_json(str(file)) if step and file.is_file() else TrainerState(global_step=step)

    def _loaded(self, step: int) -> Any:
        """The model as the trainer had it: same type, same arithmetic, an adapter not merged."""
        import transformers

        from trainers.models import load_model

        transformers.set_seed(self.arguments.seed)  # rows of new tokens are drawn
        if step == 0:
            quantised = self.recipe.adapter.kind == "qlora"
            return as_trained(load_model(self.recipe.model, self.tokenizer, quantised), self.arguments)
        folder = self.place.folder / "checkpoints" / f"checkpoint-{step}"
        return as_trained(of_checkpoint(self.recipe, folder, self.tokenizer), self.arguments)

    def _check_prompts(self) -> None:
        """Numbers of one name that were asked otherwise would share a curve, and no pair."""
        for task in self.measure.tasks:
            for step in (0, *whole_checkpoints(self.place.folder)):
                there = known_entry(self.measure.folder(step), task.name)
                if there and there["prompt_hash"] != task.prompt_hash:
                    said = other_prompts(self.measure.folder(step), there, task)
                    raise EvalError(f"{task.name}: {said}; give the task another name")


GONE = "gone: the run deleted it (train.save_total_limit) before it could be measured"
SHARDS = (
    "its weights are DeepSpeed's shards only (stage3_gather_16bit_weights_on_model_save is off); `python -m "
    "deepspeed.utils.zero_to_fp32 CHECKPOINT FOLDER` writes them together (it unpickles them: do so with your own only)"
)


def of_checkpoint(recipe: Recipe, folder: Path, tokenizer: Any) -> Any:
    """The model of a checkpoint, an adapter not merged; `recipe.model` is what training started from.

    Raises CannotBeLoadedError for one without weights, or gone meanwhile; what transformers raises for broken ones.
    """
    from trainers.models import load_model

    start, weights = recipe.model, weights_of(folder)
    try:
        if not (folder / "adapter_config.json").is_file():
            return load_model(replace(start, path=str(folder), revision=None), tokenizer)
        from peft import PeftModel

        base = load_model(start, tokenizer, quantised=recipe.adapter.kind == "qlora")
        return PeftModel.from_pretrained(base, str(folder))
    except Exception as error:
        if all(file.is_file() for file in weights):
            raise
        raise CannotBeLoadedError(GONE) from error


def weights_of(folder: Path) -> list[Path]:
    """The files of weights. Raises CannotBeLoadedError where there are none."""
    found = [file for pattern in WEIGHTS for file in folder.glob(pattern)]
    if not found:
        raise CannotBeLoadedError(SHARDS if (folder / "latest").is_file() else GONE)
    return found


def as_trained(model: Any, arguments: Any) -> Any:
    """On this machine's device, with the trainer's autocast around its forward pass, or cast as DeepSpeed's engine."""
    import torch
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(reset_partial_state=False)  # the runs of a pipeline may differ
    half = half_precision(arguments)
    if half and arguments.deepspeed:
        model = model.to(getattr(torch, half))
    mixed = {"bfloat16": "bf16", "float16": "fp16", None: "no"}[autocast(arguments)]
    accelerator = Accelerator(mixed_precision=mixed, cpu=not torch.cuda.is_available())
    return accelerator.prepare_model(model, evaluation_mode=True)


def open_run(recipe: Recipe, place: Place) -> Watched:
    """A run that has begun, before its weights are loaded. Raises what a recipe's own run would raise."""
    import torch

    from trainers.eval_tokenizer import eval_tokenizer
    from trainers.evaluation import checkpoint_eval
    from trainers.models import load_tokenizer, starting_point

    keep_date(place.root)
    recipe = replace(recipe, model=starting_point(recipe.model))
    resolved = read_json(place.folder / "recipe.resolved.json")
    if resolved["arguments"]["fp16"] and not torch.cuda.is_available():
        raise TrainError(
            f"watch {place.folder}: the run computes in fp16, which needs a GPU; watch it where there is one"
        )
    tokenizer = load_tokenizer(recipe.model)
    whole = replace(  # in waves the alpha and the cost limit would be those of its own cadence and clock
        recipe.eval, every=1, order="full", cost_limit=None, budget=replace(recipe.eval.budget, action="report")
    )
    measure = checkpoint_eval(replace(recipe, eval=whole), held_out_rows(recipe, place.folder, tokenizer))
    measure.out, measure.offset, measure.fill = place.root, place.offset, True
    measure.baselines, measure.runs = place.baselines, place.runs
    measure.planned, measure.open_ended = recipe.eval.every, recipe.eval.every is None
    measure.tokenizer, measure.template_kwargs = eval_tokenizer(place.root, tokenizer, recipe.model, main=True)
    arguments = SimpleNamespace(**resolved["arguments"])
    return Watched(recipe=recipe, place=place, arguments=arguments, tokenizer=tokenizer, measure=measure)


def held_out_rows(recipe: Recipe, folder: Path, tokenizer: Any) -> Mapping[str, list[Any]]:
    """The run's validation sets; left out, and said, where this machine cannot read them or they have changed since."""
    from data_mix.build import held_out
    from trainers.catalog import form_of
    from trainers.data import rendering

    manifest = read_json(folder / "data.manifest.json").get("validation", {})
    try:
        parts = held_out(recipe.data, tokenizer, rendering(recipe), form_of(recipe.stage, recipe.method.name))
    except DataError as error:
        announce(f"beware    held-out losses are left out: {error}")
        return {}
    hashes = {name: entry.get("sha256") for name, entry in manifest.items()}
    same = {name: part for name, part in parts.items() if part.facts()["sha256"] == hashes.get(name)}
    for name in parts.keys() - same.keys():
        announce(f"beware    the loss of {name} is left out: its rows are no longer those of the run")
    return {name: part.rows for name, part in same.items()}
