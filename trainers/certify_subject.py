"""What is certified: a checkpoint with what its run says of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from eval_hooks.catalog import row_of
from eval_hooks.certificate import against_start, chosen, only
from eval_hooks.config import TaskSpec, kept_margin
from eval_hooks.files import checkpoints, read_json, summary_of
from eval_hooks.ready import Reader, Ready, load_items, ready
from eval_hooks.scoring.pass_size import PassSize
from eval_hooks.table import read_table
from eval_hooks.tasks.kinds import KINDS
from trainers import TrainError
from trainers.evaluation import source_rows
from trainers.quantise import require_torchao
from trainers.recipe import Recipe
from trainers.rundir import Place, keep_date

if TYPE_CHECKING:
    import pyarrow as pa

Row = dict[str, Any]
OF_OPTIONS = tuple(name for name, kind in KINDS.items() if kind.schema.options)
"""Kinds of tasks whose log-probabilities can be set beside each other, form by form."""


@dataclass(kw_only=True)
class Subject:
    """A checkpoint with what its run says of it."""

    recipe: Recipe
    """Its `model` is what training started from."""
    place: Place
    step: int
    """Of its run; a pipeline counts on."""
    tokenizer: Any
    """The run's own."""
    reader: Any
    """(tokenizer, template settings) that all evaluations of the run folder read with."""
    arguments: Any
    judged: int = 1
    """Forms whose verdict decides, which share one level."""
    _ready: dict[str, Ready] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """The checkpoint's."""
        return self.place.folder / "checkpoints" / f"checkpoint-{self.step}"

    @property
    def evaluation(self) -> Path:
        """What the trainer measured at this step."""
        return self.place.root / "evals" / f"step-{self.place.offset + self.step}"

    @cached_property
    def spec(self) -> TaskSpec:
        """The task whose items are asked again."""
        found = certified_task(self.recipe)
        assert found is not None
        return found

    @cached_property
    def entry(self) -> Mapping[str, Any]:
        """What the evaluation's summary says of the task. Raises TrainError where it has none."""
        entry = summary_of(self.evaluation).get("tasks", {}).get(self.spec.called, {})
        if entry.get("status") in (None, "failed"):
            raise TrainError(
                f"certify: {self.evaluation} has no numbers of {self.spec.called} to compare with; the run measures "
                "at eval.every and at the end; `temper watch RUN --once` measures other checkpoints, from their files"
            )
        return entry

    @cached_property
    def measured(self) -> "pa.Table":
        """The trainer's table of the items that are asked again."""
        table = read_table(self.evaluation / f"{self.spec.called}.parquet")
        return only(table, chosen(table))

    @cached_property
    def ids(self) -> list[str]:
        """The items that are asked again."""
        return self.measured.column("item_id").to_pylist()

    @cached_property
    def start(self) -> "pa.Table":
        """The table that the task is paired with."""
        return read_table(self.place.root / "evals" / f"step-{self.start_step}" / f"{self.spec.called}.parquet")

    @property
    def start_step(self) -> int:
        """The step that the task is paired with, or, where none is certified, the first one that is paired."""
        tasks = summary_of(self.evaluation).get("tasks", {})
        spec = certified_task(self.recipe)
        entries = [tasks.get(spec.called, {})] if spec else tasks.values()
        found = [entry["retention"]["baseline_step"] for entry in entries if entry.get("retention")]
        return next(iter(found), self.place.offset)

    @property
    def arithmetic(self) -> str:
        """That of the trainer's numbers, as `float32, bfloat16 autocast`; without any, the recipe's type."""
        return str(summary_of(self.evaluation).get("precision", self.recipe.model.dtype))

    @property
    def size(self) -> PassSize:
        """That of the trainer's forward passes."""
        return PassSize(**summary_of(self.evaluation).get("pass_size", {}))

    @property
    def whole(self) -> bool:
        """Whether the trainer scored every item, in the batches that all of them make."""
        return bool(self.entry["n"] == self.entry["of"])

    def asked(self, reader: Reader) -> Ready:
        """The task rendered. Raises TrainError where its items are no longer those of the run."""
        key = str(id(reader.tokenizer))
        if key not in self._ready:
            rows = source_rows(self.spec) if self.spec.rows else None
            self._ready[key] = ready(self.spec, "retain", reader, load_items(self.spec, rows))
        return self._ready[key]

    def against(self, table: "pa.Table") -> Row:
        """Accuracy of a table of the items, and its retention against the start."""
        margin = kept_margin(self.recipe.eval.margin, self.recipe.eval.budget)
        return against_start(self.start, table, margin, self.start_step, self.judged)


def certified_task(recipe: Recipe) -> TaskSpec | None:
    """The first multiple-choice task to retain, else the first that is a target; None where there is none."""
    entries = (*recipe.eval.retain, *recipe.eval.target)
    return next((spec for spec in entries if row_of(spec.task).kind in OF_OPTIONS), None)


def check_certify(recipe: Recipe) -> None:
    """Raise TrainError where a run that asks for certificates could not have any."""
    if recipe.eval.certify:
        _check_task(recipe)
        require_torchao()


def _check_task(recipe: Recipe) -> None:
    if certified_task(recipe) is None:
        raise TrainError(
            "certify: asks the items of a multiple-choice task again, and eval.retain and eval.target have none; add "
            "eval.retain: [{task: pocket, variant: olmes_cf, shots: 0}]"
        )


def open_subject(recipe: Recipe, place: Place, step: int) -> Subject:
    """A checkpoint that can be certified, before its weights are loaded.

    Raises TrainError for one that is not there, and where nothing of it was measured that could be compared with.
    """
    subject = open_checkpoint(recipe, place, step)
    _check_task(recipe)
    subject.entry, subject.start, subject.measured  # noqa: B018 - read before anything costs time
    return subject


def open_checkpoint(recipe: Recipe, place: Place, step: int) -> Subject:
    """A checkpoint of a run, measured or not. Raises TrainError for one that is not there."""
    from trainers.eval_tokenizer import eval_tokenizer
    from trainers.models import load_tokenizer, starting_point

    if step not in checkpoints(place.folder):
        there = ", ".join(map(str, checkpoints(place.folder))) or "none"
        raise TrainError(f"certify: {place.folder} has no checkpoint at step {step}; there is: {there}")
    keep_date(place.root)
    recipe = replace(recipe, model=starting_point(recipe.model))
    tokenizer = load_tokenizer(recipe.model)
    return Subject(
        recipe=recipe,
        place=place,
        step=step,
        tokenizer=tokenizer,
        reader=eval_tokenizer(place.root, tokenizer, recipe.model, main=True),
        arguments=SimpleNamespace(**read_json(place.folder / "recipe.resolved.json")["arguments"]),
    )
