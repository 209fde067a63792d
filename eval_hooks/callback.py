"""CheckpointEval: measure a model while it trains, in anybody's Trainer.

from eval_hooks import CheckpointEval
trainer.add_callback(CheckpointEval(retain=[{"task": "pocket", "variant": "olmes_cf", "shots": 0}], every=100))
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from eval_hooks.budget import crossed
from eval_hooks.catalog import Judge
from eval_hooks.config import Budget, Role, TaskSpec, kept_margin
from eval_hooks.errors import EvalError
from eval_hooks.evaluate import HeldOut, Pass, evaluate
from eval_hooks.forward import Progress, no_progress
from eval_hooks.known import Known
from eval_hooks.ranks import from_writer
from eval_hooks.ready import Reader, Ready, load_items, reader_of, ready
from eval_hooks.track import Tracker, show_summary

Entry = TaskSpec | Mapping[str, Any] | str


class CheckpointEval(TrainerCallback):
    """Scores tasks at step 0, every so often and at the end; each is paired with step 0.

    Needs no recipe: tasks are names, mappings or TaskSpecs. Rows of a task that scores a data source are handed in by
    name (`rows`), and so are the tokenised validation sets (`held_out`) and, by task, what judges answers (`judges`).
    `known` says where tables of the start are kept, so that the next run from it need not score it again.
    `on_summary` is called on the writing rank with each summary. Items are loaded at construction, which raises
    EvalError for a task that cannot be; rendered at the start of training, which raises it for items that cannot be
    rendered.
    """

    def __init__(
        self,
        *,
        target: Sequence[Entry] = (),
        retain: Sequence[Entry] = (),
        every: int | float | str | None = None,
        out: str | Path = "runs/eval",
        rows: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
        held_out: Mapping[str, HeldOut] | None = None,
        judges: Mapping[str, Judge] | None = None,
        margin: float | None = None,
        budget: Budget | None = None,
        on_error: Literal["report", "stop"] = "report",
        samples: int = 8,
        template_kwargs: Mapping[str, Any] | None = None,
        known: Known | None = None,
        tracker: Tracker | None = None,
        on_summary: Callable[[dict[str, Any]], None] | None = None,
    ) -> None:
        self.entries: list[tuple[TaskSpec, Role]] = [
            *((_spec(t), "target") for t in target),
            *((_spec(t), "retain") for t in retain),
        ]
        names = [spec.called for spec, _ in self.entries]
        if twice := {name for name in names if names.count(name) > 1}:
            raise EvalError(f"two tasks are called {sorted(twice)}; give one of them a `name`")
        self.every, self.out = every, Path(out)
        self.held_out, self.judges = held_out or {}, judges or {}
        self._items = [load_items(spec, (rows or {}).get(spec.called)) for spec, _ in self.entries]
        self.budget = budget or Budget()
        self.margin = kept_margin(margin, self.budget)
        self.on_error, self.samples = on_error, samples
        self.template_kwargs, self.known = template_kwargs or {}, known
        self.tracker, self.on_summary = tracker, on_summary
        self.tasks: list[Ready] = []
        self.offset = 0
        """Steps before this run, in a pipeline: folders are numbered on its axis."""
        self.baselines: Mapping[str, int] = {}
        """Task -> step of the evaluation it is paired with; default: the first of this run."""
        self.tokenizer: Any = None
        """Tokenizer to ask with, where the model's own may not be that of the baseline."""
        self.stopped: str | None = None
        """Why the budget ended the run, if it did."""
        self._reader: Reader | None = None
        self.at_end = True
        """Measure when training ends; a run that is stopped from outside switches it off."""
        self._last: int | None = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Render every item once and measure the base, unless a resumed run has it on disk."""
        model = kwargs["model"]
        tokenizer = getattr(kwargs["processing_class"], "tokenizer", kwargs["processing_class"])
        self._reader = reader_of(model, self.tokenizer or tokenizer, self.template_kwargs)
        self.tasks = [
            ready(spec, role, self._reader, items, self.judges.get(spec.task))
            for (spec, role), items in zip(self.entries, self._items, strict=True)
        ]
        if self.tracker is None and state.is_world_process_zero:
            self.tracker = Tracker(self.out)
        if state.global_step == 0 or not (self.folder(0) / "summary.json").is_file():
            self._evaluate(model, args, state, control)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Measure where a step is due."""
        period = self.period(state.max_steps)
        if period and state.global_step % period == 0:
            self._evaluate(kwargs["model"], args, state, control)

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Measure after an epoch, where that was asked for."""
        if self.every == "epoch":
            self._evaluate(kwargs["model"], args, state, control)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Measure the final weights, unless the last step was measured."""
        if self.at_end:
            self._evaluate(kwargs["model"], args, state, control)

    def period(self, max_steps: int) -> int | None:
        """Steps between evaluations; None: only at the ends (or at epochs)."""
        if isinstance(self.every, float) and self.every <= 1.0:
            return max(1, round(self.every * max_steps))
        return int(self.every) if isinstance(self.every, int | float) else None

    def folder(self, step: int) -> Path:
        """Where the evaluation at a step of this run is."""
        return self.out / "evals" / f"step-{self.offset + step}"

    def _evaluate(self, model: Any, args: TrainingArguments, state: TrainerState, control: TrainerControl) -> None:
        step = state.global_step
        if self._last == step:
            return
        self._last = step
        writes = state.is_world_process_zero
        own = {task.name: self.folder(0) for task in self.tasks} if step else {}
        before = {name: self.out / "evals" / f"step-{at}" for name, at in self.baselines.items()}
        run = Pass(
            tasks=self.tasks,
            held_out=self.held_out,
            folder=self.folder(step) if writes else None,
            start=self.folder(0) if step else None,
            seam=self.offset > 0 and step == 0,
            known=self.known if step == 0 else None,
            baselines={**own, **before},
            margin=self.margin,
            samples=self.samples,
            autocast="bfloat16" if args.bf16 else "float16" if args.fp16 else None,
            keep_going=self.on_error == "report",
        )
        assert self._reader is not None
        tokens = getattr(state, "num_input_tokens_seen", None) or None
        summary = evaluate(run, model, self._reader, self.offset + step, tokens, progress_bar if writes else silent_bar)
        if writes and self.tracker:
            show_summary(self.tracker, summary, step)
        if writes and self.on_summary:
            self.on_summary(summary)
        self._decide(summary, control)

    def _decide(self, summary: dict[str, Any], control: TrainerControl) -> None:
        reasons = from_writer(crossed(self.budget, summary))
        if reasons and self.tracker:
            self.tracker.log(
                summary["step"] - self.offset, {"budget/crossed": 1.0, "budget/reason": "; ".join(reasons)}
            )
        if reasons and self.budget.action == "stop":
            self.stopped = "; ".join(reasons)
            control.should_training_stop = True


def _spec(entry: Entry) -> TaskSpec:
    """A task entry in any of its three forms. Raises EvalError for an unknown key."""
    if isinstance(entry, TaskSpec):
        return entry
    try:
        return TaskSpec(task=entry) if isinstance(entry, str) else TaskSpec(**entry)
    except TypeError as error:
        raise EvalError(
            f"task entry {entry!r}: {str(error).removeprefix('TaskSpec.__init__() ')}; keys are those of "
            "eval_hooks.config.TaskSpec"
        ) from error


@contextmanager
def progress_bar(total: int, description: str) -> Iterator[Progress]:
    """A bar on standard error, gone when done."""
    from tqdm.auto import tqdm

    with tqdm(total=total, desc=description, leave=False, dynamic_ncols=True) as bar:
        yield bar.update


@contextmanager
def silent_bar(total: int, description: str) -> Iterator[Progress]:
    """For the ranks that nobody watches."""
    yield no_progress
