"""CheckpointEval: measure a model while it trains, in anybody's Trainer.

from eval_hooks import CheckpointEval
pocket = {"task": "pocket", "variant": "olmes_cf", "shots": 0}
trainer.add_callback(CheckpointEval(retain=[pocket], every=100, budget={"accuracy_drop": 0.02, "action": "stop"}))
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from copy import copy
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from eval_hooks.bounded import Call
from eval_hooks.budget import ALONE, crossed, judged, plan_of
from eval_hooks.catalog import Judge
from eval_hooks.config import Action, Budget, Over, kept_margin
from eval_hooks.control.allowance import looks_of, may_claim
from eval_hooks.control.given import Entry, budget_of, check_carried_out, check_names, check_options, entries_of
from eval_hooks.control.ledger import spend
from eval_hooks.control.rate import slow, slow_again
from eval_hooks.control.schedule import between_ends, period_of
from eval_hooks.control.somebodys import check_sharding, loaded_step, set_aside_earlier
from eval_hooks.cost import Cost
from eval_hooks.errors import EvalError
from eval_hooks.evaluate import HeldOut, Pass, autocast, evaluate, has_base, note
from eval_hooks.files import beside_checkpoint, evaluations, saved_at, summary_of
from eval_hooks.gather import whole_weights
from eval_hooks.generate import check_writes
from eval_hooks.known import Known
from eval_hooks.over import check_over
from eval_hooks.progress import breaking_off, progress_bar, silent_bar
from eval_hooks.ranks import AbandonedError, anywhere, from_writer
from eval_hooks.ready import Reader, Ready, load_items, reader_of, ready
from eval_hooks.retention.reach import reach
from eval_hooks.retention.spending import Plan
from eval_hooks.scoring.pass_size import PassSize, size_for
from eval_hooks.track import Tracker, show_summary


@dataclass(frozen=True, kw_only=True)
class Due:
    """An action of the budget that needs more than the callback."""

    action: Action
    step: int
    """Of this run."""
    reason: str


class CheckpointEval(TrainerCallback):
    """Scores tasks at step 0, every so often and at the end; each is paired with step 0.

    Needs no recipe: `tasks` (what the run is for, a recipe's eval.target) and `retain` (what must not be lost) are
    names, mappings or TaskSpecs, `budget` is a mapping or a Budget. Rows of a task that scores a data source are handed
    in by name (`rows`), and so are the tokenised validation sets (`held_out`) and, by task, what judges answers
    (`judges`).
    `over` says what verdicts are to hold for: other items like these, or new subjects.
    `known` says where tables of the start are kept, so that the next run from it need not score it again.
    `on_begin` is called on the writing rank with the step that is about to be measured, `on_summary` with each summary.
    Items are loaded at construction, which raises EvalError for a task that cannot be; rendered at the start of
    training, which raises it for items that cannot be rendered.
    """

    def __init__(
        self,
        *,
        tasks: Sequence[Entry] = (),
        retain: Sequence[Entry] = (),
        every: int | float | str | None = None,
        out: str | Path = "runs/eval",
        rows: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
        held_out: Mapping[str, HeldOut] | None = None,
        judges: Mapping[str, Judge | Call] | None = None,
        margin: float | None = None,
        over: Over = "items",
        budget: Budget | Mapping[str, Any] | None = None,
        order: Literal["full", "waves"] = "full",
        cost_limit: float | None = None,
        on_error: Literal["report", "stop"] = "report",
        samples: int = 8,
        template_kwargs: Mapping[str, Any] | None = None,
        known: Known | None = None,
        carried_out: Sequence[Action] = ALONE,
        tracker: Tracker | None = None,
        on_begin: Callable[[int], None] | None = None,
        on_summary: Callable[[dict[str, Any]], None] | None = None,
    ) -> None:
        check_options(
            every=every, margin=margin, over=over, order=order, cost_limit=cost_limit, on_error=on_error,
            samples=samples,
        )  # fmt: skip
        self.entries = entries_of(tasks, retain)
        self.every, self.out = every, Path(out)
        self.held_out, self.judges = held_out or {}, judges or {}
        check_names(self.held_out)
        self._items = [load_items(spec, (rows or {}).get(spec.called)) for spec, _ in self.entries]
        check_over(over, order, [(*entry, items) for entry, items in zip(self.entries, self._items, strict=True)])
        self.over, self.budget = over, budget_of(budget)
        self.margin = kept_margin(margin, self.budget)
        check_carried_out(self.budget, carried_out, order, cost_limit)
        self.order, self.cost_limit = order, cost_limit
        self.cost = Cost(cost_limit)
        self._whole = True
        """Whether the last evaluation scored every item."""
        self.on_error, self.samples = on_error, samples
        self.template_kwargs, self.known = template_kwargs or {}, known
        self.tracker, self.on_begin, self.on_summary = tracker, on_begin, on_summary
        self._own = False
        """Whether nobody else looks after the folder."""
        self.tasks: list[Ready] = []
        self.offset = 0
        """Steps before this run, in a pipeline: folders are numbered on its axis."""
        self.baselines: Mapping[str, int] = {}
        """Task -> step of the evaluation it is paired with; default: the first of this run."""
        self.tokenizer: Any = None
        """Tokenizer to ask with, where the model's own may not be that of the baseline."""
        self.runs = 1
        """Runs of the pipeline that this is one of: they share the chance of a wrong word."""
        self.planned: int | float | str | None = every
        """`every` of the run, where that is not how often this callback measures."""
        self.open_ended = False
        """Whether nobody knows how often the run will be measured."""
        self.fill = False
        """What an evaluation on disk has already stays, and only the rest is measured."""
        self.stopped: str | None = None
        """Why the budget ended the run, if it did."""
        self.due: Due | None = None
        """What somebody else has to carry out, now that training was stopped for it."""
        self.taken = 0
        """How often the budget's action was taken."""
        self.writing: Callable[[Any], AbstractContextManager[None]] | None = None
        """Entered with the model around a task that generates, where something else writes than the model itself."""
        self.size: PassSize | None = None
        """Of forward passes; default: what suits the machine when training begins, so that it stays what it is."""
        self._reader: Reader | None = None
        self.abandoned = False
        """Set when the run is to end: what is being measured is broken off, and nothing more is."""
        self._last_step: int | None = None

    def go_on(self, taken: int) -> None:
        """Be ready for the next part of a run that stopped for an action of its budget."""
        self.due, self.taken, self._last_step = None, taken, None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Render every item once and measure the base; a resumed run has it on disk or is refused with an EvalError."""
        model = kwargs["model"]
        check_sharding(args, model)
        if kwargs["processing_class"] is None:
            raise EvalError("CheckpointEval reads with the trainer's tokenizer and it has none; pass processing_class=")
        tokenizer = getattr(kwargs["processing_class"], "tokenizer", kwargs["processing_class"])
        self._reader = reader_of(model, self.tokenizer or tokenizer, self.template_kwargs)
        self.tasks = [
            ready(spec, role, self._reader, items, self.judges.get(spec.task))
            for (spec, role), items in zip(self.entries, self._items, strict=True)
        ]
        check_writes(model, [task.name for task in self.tasks if task.generates])
        self.size = self.size or size_for(model)
        self._own = self._own or self.tracker is None
        if self._own and state.is_world_process_zero:
            set_aside_earlier(self.out, state.global_step)
            self.tracker = Tracker(self.out)
        self.cost = Cost(self.cost_limit, self._last(state, state.global_step).get("cost"))
        before = from_writer(self._taken_before(state))
        self.taken = max(self.taken, before)
        if self.budget.action == "lr" and before:
            slow_again(kwargs["lr_scheduler"], self.budget.lr.factor**before)
        if state.global_step == 0:
            self._evaluate(args, state, control, **kwargs)
            return
        at = {name: self.out / "evals" / f"step-{step}" for name, step in self.baselines.items()}
        retained = [task.name for task in self.tasks if task.role == "retain"]
        bases = {name: at.get(name, self.folder(0)) for name in retained}
        if lost := from_writer([f"{folder} ({name})" for name, folder in bases.items() if not has_base(folder, name)]):
            raise EvalError(
                f"resumed at step {state.global_step} without its baseline: {', '.join(lost)} is not there, and the "
                "weights have changed since; copy it back, make it from the base with `temper eval BASE --out FOLDER`, "
                "or start anew"
            )
        period = self.period(state.max_steps)
        if period and state.global_step % period == 0 and self._missing(state.global_step):
            self._evaluate(args, state, control, **kwargs)  # the run ended before it was measured

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Measure where a step is due; the last one here, where other weights will be put in before training ends."""
        period = self.period(state.max_steps)
        last = state.global_step >= state.max_steps and args.load_best_model_at_end
        if last or period and state.global_step % period == 0:
            self._evaluate(args, state, control, at_end=last, **kwargs)

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Measure after an epoch, where that was asked for."""
        if self.every == "epoch":
            self._evaluate(args, state, control, **kwargs)

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Put the temperatures fitted at this step beside its checkpoint."""
        self._beside_checkpoint(args, state)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Measure the final weights whole, unless that was done; they may be those of an earlier step."""
        if self.due:
            return
        earlier = loaded_step(args, state)
        if earlier is not None:
            state = copy(state)
            state.global_step = earlier
            whole = from_writer(self._is_whole(earlier))
        else:
            whole = self._last_step == state.global_step and self._whole
        if not whole:
            self._last_step = None
            self._evaluate(args, state, control, at_end=True, **kwargs)

    def period(self, max_steps: int) -> int | None:
        """Steps between evaluations; None: only at the ends (or at epochs)."""
        return period_of(self.every, max_steps)

    def between(self, state: TrainerState) -> int:
        """How many evaluations there are between step 0 and the end."""
        return between_ends(self.every, state.max_steps, state.num_train_epochs)

    def folder(self, step: int) -> Path:
        """Where the evaluation at a step of this run is."""
        return self.out / "evals" / f"step-{self.offset + step}"

    def _evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, at_end: bool = False, **kwargs: Any
    ) -> None:
        step = state.global_step
        if self._last_step == step or anywhere(self.abandoned):
            return
        self._last_step = step
        writes = state.is_world_process_zero
        own = {task.name: self.folder(0) for task in self.tasks} if step else {}
        before = {name: self.out / "evals" / f"step-{at}" for name, at in self.baselines.items()}
        between = 0 < step < state.max_steps and not at_end
        spending = self._spend(state, final=not between) if writes else None
        claims = may_claim(spending, [role for _, role in self.entries], self.budget.confidence)
        looks = looks_of(self.budget, self.margin, claims["retain"]) if between and self.order == "waves" else None
        self._whole = looks is None
        last = self._last(state, step - 1)
        run = Pass(
            tasks=self.tasks,
            held_out=self.held_out,
            folder=self.folder(step) if writes else None,
            start=self.folder(0) if step else None,
            seam=self.fill or (self.offset > 0 and step == 0),
            known=self.known if step == 0 else None,
            twice=step == 0,
            whole=self.writing or partial(whole_weights, optimizer=kwargs.get("optimizer")),
            looks=looks,
            last=self.out / "evals" / f"step-{last['step']}" if last else None,
            cost=self.cost,
            counts=between,
            foreseen=self._foreseen(state) if step == 0 else {},
            baselines={**own, **before},
            may_claim=claims,
            spending=spending,
            margin=self.margin,
            over=self.over,
            samples=self.samples,
            autocast=autocast(args),
            size=self.size,
            keep_going=self.on_error == "report",
        )
        if writes and self.on_begin:
            self.on_begin(step)
        assert self._reader is not None
        tokens = getattr(state, "num_input_tokens_seen", None) or None
        try:
            summary = evaluate(
                run,
                kwargs["model"],
                self._reader,
                self.offset + step,
                tokens,
                breaking_off(progress_bar if writes else silent_bar, lambda: self.abandoned),
            )
        except AbandonedError:
            return
        self._beside_checkpoint(args, state)
        if writes and self.tracker:
            show_summary(self.tracker, summary, step)
        if writes and self.on_summary:
            self.on_summary(summary)
        action = self._decide(summary, last.get("budget", {}), state, control)
        if action not in (None, "report"):
            self.taken += 1
        if action == "lr":
            slow(kwargs["optimizer"], kwargs["lr_scheduler"], self.budget.lr.factor)

    def _beside_checkpoint(self, args: TrainingArguments, state: TrainerState) -> None:
        if state.is_world_process_zero and args.output_dir:
            step = state.global_step
            beside_checkpoint(self.folder(step), saved_at(args.output_dir, step))

    def _is_whole(self, step: int) -> bool:
        """Whether every task of a step was scored on all its items, as the writing rank sees it."""
        tasks = summary_of(self.folder(step))["tasks"] if not self._missing_here(step) else {}
        return bool(tasks) and all(task["status"] == "ok" for task in tasks.values())

    def _missing(self, step: int) -> bool:
        """Whether a step has no evaluation, as the writing rank sees it."""
        return from_writer(self._missing_here(step))

    def _missing_here(self, step: int) -> bool:
        return not (self.folder(step) / "summary.json").is_file()

    def plan(self, state: TrainerState) -> Plan:
        """How this run spends its chance of a wrong word."""
        between = None if self.open_ended else between_ends(self.planned, state.max_steps, state.num_train_epochs)
        return plan_of(self.budget, between, self.runs)

    def _spend(self, state: TrainerState, final: bool) -> dict[str, Any] | None:
        """What the evaluation at this step may spend, as its summary says it; None at a start: nothing changed."""
        step = state.global_step
        if step == 0 and (not self.offset or not self._missing_here(0)):
            return None
        plan = self.plan(state)
        return {"alpha": plan.alpha, **spend(self.out, self.offset, plan, self.offset + step, final)}

    def _foreseen(self, state: TrainerState) -> dict[str, Any]:
        """What is known of the evaluations that follow step 0: how many, and what they will be able to say."""
        retained = {task.name: len(task) for task in self.tasks if task.role == "retain"}
        plan = self.plan(state)
        return {
            "evaluations": self.between(state) + 1,
            "kept": {name: asdict(reach(n, self.margin, plan, len(retained))) for name, n in retained.items()},
        }

    def _taken_before(self, state: TrainerState) -> int:
        """How often a resumed run's budget has acted."""
        steps = range(self.offset + 1, self.offset + state.global_step + 1)
        folders = [folder for step, folder in evaluations(self.out).items() if step in steps]
        return sum(summary_of(folder).get("budget", {}).get("action") == self.budget.action for folder in folders)

    def _last(self, state: TrainerState, upto: int) -> dict[str, Any]:
        """The summary of this run's newest evaluation up to a step, on the writing rank; empty where there is none."""
        steps = [step for step in evaluations(self.out) if self.offset <= step <= self.offset + upto]
        if not steps or not state.is_world_process_zero:
            return {}
        return summary_of(self.out / "evals" / f"step-{steps[-1]}")

    def _decide(
        self, summary: dict[str, Any], before: Mapping[str, Any], state: TrainerState, control: TrainerControl
    ) -> str | None:
        """Judge the budget, note it in the summary, and do what is due; returns the action.

        The start is no checkpoint of this run: what a pipeline's earlier runs lost is not undone by this one.
        """
        if state.global_step == 0:
            return None
        more = state.global_step < state.max_steps
        entry = from_writer(judged(self.budget, crossed(self.budget, summary), before, self.taken, more))
        if not entry["crossed"]:
            return None
        reason, action = "; ".join(entry["crossed"]), entry["action"]
        if state.is_world_process_zero:
            note(self.folder(state.global_step), {**summary, "budget": entry})
        if self.tracker:
            line = {"budget/crossed": 1.0, "budget/reason": reason}
            self.tracker.log(state.global_step, line | ({"budget/action": action} if action else {}))
            self.tracker.alert("budget crossed", f"{reason}; action: {action or 'none yet'}")
        if action == "stop":
            self.stopped = reason
            control.should_training_stop = True
        elif action in ("roll_back", "replay", "kl"):
            self.due = Due(action=action, step=state.global_step, reason=reason)
            control.should_training_stop = True
            control.should_save = action != "roll_back"
        return action
