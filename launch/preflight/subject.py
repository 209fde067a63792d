"""What is checked: a recipe, and what several checks need of it, made when it is first asked for and once."""

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import wraps
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainers.recipe import Recipe
from trainers.rundir import RUNS

if TYPE_CHECKING:
    from data_mix.bad_rows import Row
    from data_mix.build import Mix, Part
    from data_mix.forms import Form
    from data_mix.render import Rendering
    from eval_hooks.config import TaskSpec
    from eval_hooks.ready import Items
    from trainers.catalog import Stage
    from trainers.machine import Chosen
    from trainers.method import Method

SAMPLED = 32
"""First rows of a source that a check of the template looks at."""
MANY = 20_000
"""Rows that are looked at where a mix has more, or streams."""


TAKEN = {"none": 2.0, "lora": 1.0, "qlora": 0.3}
"""Memory of weights and gradients by what is trained, in units of the weights as they are stored."""


class NotThereError(Exception):
    """A check needs what cannot be had here, or what could not be made and why was said by the check before."""


def once(make: Callable[["Subject"], Any]) -> Any:
    """A property that is made when first asked for. Where that fails its error travels once, then NotThereError."""
    name = make.__name__

    @wraps(make)
    def get(self: "Subject") -> Any:
        if name in self.failed:
            raise NotThereError(name)
        if name not in self.made:
            try:
                self.made[name] = make(self)
            except NotThereError:
                raise
            except Exception:
                self.failed.add(name)
                raise
        return self.made[name]

    return property(get)


class Subject:
    """A recipe under check. One process, no DeepSpeed: what is trained is the same."""

    def __init__(
        self, recipe: Recipe, *, run_dir: Path | None = None, runs: Path = RUNS, share: int = 1, ranks: int = 1
    ) -> None:
        self.recipe, self.run_dir, self.runs = recipe, run_dir, runs
        self.share = share
        """Runs of its pipeline that measure something, itself included."""
        self.ranks = ranks
        """Of the run that is meant, on all machines together."""
        self.made: dict[str, Any] = {}
        self.failed: set[str] = set()

    @property
    def stage(self) -> "Stage":
        """The stage's row."""
        from trainers.catalog import STAGES

        return STAGES[self.recipe.stage]

    @property
    def method(self) -> "Method[Any, Any]":
        """The method's row."""
        from trainers.catalog import METHODS

        return METHODS[self.recipe.method.name]

    @property
    def form(self) -> "Form":
        """What rows become."""
        from trainers.catalog import form_of

        return form_of(self.recipe.stage, self.recipe.method.name)

    def setting(self, name: str) -> Any:
        """An argument of the stage's config class: the recipe's, the method's default, the class's; None: none such."""
        from trainers.arguments import setting

        return setting(self.recipe, name)

    @property
    def streams(self) -> bool:
        """Whether sources are read only as far as the run needs them."""
        return self.recipe.data.until_tokens is not None

    @once
    def tokenizer(self) -> Any:
        """The run's tokenizer."""
        from trainers.models import load_tokenizer

        return load_tokenizer(self.recipe.model)

    @once
    def config(self) -> Any:
        """The model's configuration."""
        from trainers.models import load_config

        return load_config(self.recipe.model)

    @once
    def skeleton(self) -> Any:
        """The model without weights."""
        from trainers.models import skeleton

        return skeleton(self.recipe.model)

    def first_rows(self, n: int) -> "Iterator[tuple[str, list[Row]]]":
        """(source, its first n rows in TRL's columns), read no further than that."""
        from data_mix.bad_rows import BadRows, refuse
        from data_mix.read import numbered

        data, form = self.recipe.data, self.form
        for spec in data.train:
            bad = BadRows(spec.name)
            rows = [row for _, row in islice(numbered(spec, data.seed, form.shapes, bad, form.columns), n)]
            if data.bad_rows == "error":
                refuse([(bad, len(rows) + bad.total)])
            yield spec.name, rows

    def encode(self, row: Mapping[str, Any], how: "Rendering") -> list[Any]:
        """A row to train on as the stage takes it; none of one that is dropped. Raises DataError with its place."""
        from data_mix import DataError
        from data_mix.bad_rows import place_of

        try:
            return self.form.encode(row, self.tokenizer, how)
        except DataError as error:
            if self.recipe.data.bad_rows == "drop":
                return []
            raise DataError(f"{place_of(row)}: {error}") from error

    @once
    def sample(self) -> "dict[str, list[Row]]":
        """Source -> its first rows."""
        return dict(self.first_rows(SAMPLED))

    @once
    def parts(self) -> "tuple[list[Part], list[Part]]":
        """Train and validation sources with their rows in TRL's columns; the first ones where sources stream."""
        from data_mix.bad_rows import BadRows
        from data_mix.build import Part, read

        if not self.streams:
            return read(self.recipe.data, self.form)
        _, validation = read(self.recipe.data, self.form)
        rows = dict(self.first_rows(MANY))
        train = self.recipe.data.train
        return [Part(spec=spec, raw=rows[spec.name], bad=BadRows(spec.name)) for spec in train], validation

    @once
    def mix(self) -> "Mix":
        """The rows the run trains and validates on."""
        from trainers.data import build_mix

        return build_mix(self.recipe, self.tokenizer, show=False)

    @once
    def items(self) -> "list[tuple[TaskSpec, Items]]":
        """What is asked at every evaluation."""
        from eval_hooks.ready import load_items
        from trainers.evaluation import source_rows

        tasks = (*self.recipe.eval.target, *self.recipe.eval.retain)
        return [(spec, load_items(spec, source_rows(spec) if spec.rows else None)) for spec in tasks]

    def arguments(self, **train: Any) -> Any:
        """The stage's config for one process that does what all ranks do, in more micro-batches of the same size.

        With `train`, for rows of a check's own. Raises TrainError where the global batch does not divide.
        """
        import torch

        from trainers.arguments import batch_on, training_arguments
        from trainers.sequence import groups

        batch, times = batch_on(self.recipe, self.ranks), groups(self.recipe, self.ranks)
        batch["gradient_accumulation_steps"] *= times
        given = {key: value for key, value in self.recipe.train.items() if key != "parallelism_config"}
        if given.get("steps_per_generation"):  # counts micro-batches
            given["steps_per_generation"] *= times
        if not torch.cuda.is_available() and not given.get("use_cpu"):
            given.pop("fp16", None)  # of the machine that trains, where this one has no GPU
        recipe = replace(self.recipe, deepspeed=None, global_batch_size=None, train={**given, **batch, **train})
        made = training_arguments(recipe, self.chosen)
        made.output_dir = str(self.scratch / "checkpoints")
        return made

    @once
    def chosen(self) -> "Chosen":
        """What the recipe leaves to this machine."""
        from trainers.machine import choose_here

        return choose_here(self.recipe)

    @once
    def scratch(self) -> Path:
        """A folder that is gone with the subject."""
        self.made["folder"] = tempfile.TemporaryDirectory(prefix="temper-check-", ignore_cleanup_errors=True)
        return Path(self.made["folder"].name)

    @once
    def start(self) -> Recipe:
        """The recipe on the model that training starts from."""
        from trainers.models import starting_point

        return replace(self.recipe, model=starting_point(self.recipe.model))

    @property
    def weights(self) -> Any:
        """The model as it is loaded; an adapter that a check put on it comes off."""
        model: Any = self.made.get("model")
        return model.unload() if hasattr(model, "peft_config") else self.loaded

    @once
    def loaded(self) -> Any:
        """The model from its folder, rows of new tokens drawn as the run draws them.

        NotThereError where one process has no room for it, as several may.
        """
        import torch
        import transformers

        from trainers.models import load_model
        from trainers.reference import GIB, free_bytes

        weights = sum(p.numel() * p.element_size() for p in self.skeleton.parameters())
        need, free = weights * TAKEN[self.recipe.adapter.kind], free_bytes()
        if need > free:
            room = f"{need / GIB:.1f} GiB in one process ({free / GIB:.1f} free)"
            raise NotThereError(f"the model and its gradients, {room}")
        transformers.set_seed(self.setting("seed"))
        model = load_model(self.start.model, self.tokenizer, quantised=self.recipe.adapter.kind == "qlora")
        self.made["drawn so far"] = torch.get_rng_state()
        return model

    @once
    def reference(self) -> Mapping[str, Any]:
        """What the method compares with."""
        from trainers.reference import reference_copy

        return reference_copy(self.start, self.tokenizer, self.skeleton)

    @once
    def model(self) -> Any:
        """The model as it is trained, its adapter on it."""
        return self.trainer(self.some_rows(1), self.arguments()).model

    def trainer(self, rows: Any, arguments: Any) -> Any:
        """The run's own trainer on these rows; checks share one model, with an adapter that begins anew each time."""
        import torch
        import transformers

        from trainers.assemble import trainer_of

        model = self.weights
        transformers.set_seed(arguments.seed)
        torch.set_rng_state(self.made["drawn so far"])  # an adapter begins as the run's does, which loads and goes on
        made = trainer_of(self.start, arguments, rows, self.tokenizer, model, self.reference)
        self.made["model"] = made.model
        return made

    def some_rows(self, n: int) -> Any:
        """The first n rows of each kind in the mix, as a data set."""
        return self.mix.train.select(self.first_of_each_kind(range(min(len(self.mix.train), MANY)), n))

    def first_of_each_kind(self, order: Sequence[int], n: int) -> list[int]:
        """Indices into the mix: the first n of each kind, in this order."""
        taken: dict[str, list[int]] = {}
        for index in order:
            of_kind = taken.setdefault(self.form.kind(self.mix.train[index]), [])
            if len(of_kind) < n:
                of_kind.append(index)
        return [index for of_kind in taken.values() for index in of_kind]

    def close(self) -> None:
        """Free the model and the scratch folder."""
        folder = self.made.get("folder")
        self.made.clear()
        if folder is not None:
            folder.cleanup()


def batches(trainer: Any, n: int) -> tuple[list[Any], Any]:
    """The first n micro-batches as the trainer takes them, and what it divides their losses by."""
    trainer.current_gradient_accumulation_steps = n
    samples, items = trainer.get_batch_samples(iter(trainer.get_train_dataloader()), n, trainer.args.device)
    trainer.current_gradient_accumulation_steps = len(samples)
    return samples, items


@contextmanager
def still(model: Any) -> Iterator[None]:
    """Without dropout, whatever the trainer says: what is compared must not be drawn anew."""
    model.eval()
    model.train = lambda mode=True: model
    try:
        yield
    finally:
        del model.train
        model.zero_grad()
