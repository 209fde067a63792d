"""A recipe's first steps, run as always, with what each part takes written down: memory at its peak, and seconds.

Parts: load (weights and optimizer), evaluation (the whole one of step 0), step (the second; the first pays for what is
set up once), save (a checkpoint). Peaks are this process's own, so it should have done nothing else before.
"""

import json
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from eval_hooks.config import Budget
from eval_hooks.files import write_json
from trainers.recipe import Recipe
from trainers.rundir import Place
from trainers.world import rank

STEPS = 2
"""One to set up, one to measure."""
RESULT = "measured.json"


@dataclass(frozen=True, kw_only=True)
class Part:
    """What one part of a run took."""

    seconds: float
    rss: int
    """Largest resident memory of the process, bytes."""
    gpu: int | None = None
    """Largest memory that torch held on the GPU, bytes; None without one."""


class Peaks:
    """The largest memory since the last mark."""

    def __init__(self) -> None:
        self._begin = time.monotonic()
        self._reset()

    def mark(self) -> Part:
        """What the part that ends here took; the next one begins."""
        now = time.monotonic()
        part = Part(seconds=now - self._begin, rss=peak_rss(), gpu=_peak_gpu())
        self._reset()
        self._begin = time.monotonic()
        return part

    def _reset(self) -> None:
        import torch

        if sys.platform == "linux":
            Path("/proc/self/clear_refs").write_text("5")  # VmHWM begins anew, proc(5)
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()


def peak_rss() -> int:
    """Largest resident memory of this process since it was reset (Linux), or since its start, in bytes."""
    if sys.platform == "linux":
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _peak_gpu() -> int | None:
    import torch

    return torch.cuda.max_memory_reserved() if torch.cuda.is_available() else None


@dataclass
class Probe(TrainerCallback):
    """Marks the parts of a run, and notes which batches the model trains on; to be called before other callbacks."""

    peaks: Peaks
    parts: dict[str, Part] = field(default_factory=dict)
    shapes: list[tuple[int, int]] = field(default_factory=list)
    """(rows, tokens) of each training forward pass of the last step."""

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """The model is loaded; the evaluation of step 0 comes next."""
        self.parts["load"] = self.peaks.mark()
        kwargs["model"].register_forward_pre_hook(self._note, with_kwargs=True)

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Before the first step the evaluation ends; each step is measured alone, and the last one is kept."""
        ended = self.peaks.mark()
        if "evaluation" not in self.parts:
            self.parts["evaluation"] = ended
        self.shapes.clear()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """A checkpoint is written next."""
        self.parts["step"] = self.peaks.mark()

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """It is written."""
        self.parts["save"] = self.peaks.mark()

    def _note(self, model: Any, args: Any, kwargs: Mapping[str, Any]) -> None:
        ids = kwargs.get("input_ids", args[0] if args else None)
        if model.training and ids is not None:
            self.shapes.append((int(ids.shape[0]), int(ids.shape[1])))


def short(recipe: Recipe) -> Recipe:
    """The recipe cut to its first steps: an evaluation before them, a checkpoint after them, nothing sent anywhere."""
    train = {key: value for key, value in recipe.train.items() if key not in ("num_train_epochs", "save_only_model")}
    train |= {"max_steps": STEPS, "save_strategy": "steps", "save_steps": STEPS, "disable_tqdm": True}
    return replace(
        recipe,
        train=train,
        data=replace(recipe.data, until_tokens=None),
        eval=replace(recipe.eval, every=None, budget=Budget(), keep=None, live=True),
        wandb=None,
        tensorboard=False,
    )


def probe(recipe: Recipe, folder: Path) -> None:
    """Run the recipe's first steps in a folder and write measured.json there.

    What a person did wrong travels as a ValueError of the package it was found in; RuntimeError where the run failed.
    """
    from trainers.memory.baseline import baseline
    from trainers.models import load_tokenizer
    from trainers.run import carry_out, prepare

    load_tokenizer(recipe.model)
    before = baseline(recipe)
    run = prepare(short(recipe))
    peaks = Peaks()
    watch = Probe(peaks)
    run.measure.known, run.measure.at_end = None, False  # the whole evaluation is measured, once
    code = carry_out(replace(run, also=(watch,)), Place(folder=folder / "run", root=folder), resume=False)
    if code:
        raise RuntimeError(f"the measured run ended with code {code}; see {folder}")
    if rank() == 0:
        write_json(folder / RESULT, {
            "baseline": before,
            "chosen": {name: getattr(run.arguments, name) for name in ("bf16", "fp16", "activation_checkpointing")},
            "parts": {name: vars(part) for name, part in watch.parts.items()},
            "shapes": watch.shapes,
            "manifest": run.mix.manifest,
            "evaluation": json.loads((folder / "evals/step-0/summary.json").read_text("utf-8")),
            "disk": sum(file.stat().st_size for file in (folder / "run").rglob("checkpoint-*/**/*") if file.is_file()),
        })  # fmt: skip
