"""`temper certify`: a checkpoint is what was measured, and stays so merged and with fewer bits.

A fixed set of items, asked again from the checkpoint's files, is compared with what the trainer's own evaluation wrote
of the live model: same prompts, same batches, same arithmetic and number of threads, so that on the run's machine the
difference is 0 and not merely small.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from eval_hooks.catalog import row_of
from eval_hooks.certificate import FILE, SEED, against_start, apart, chosen, numbers, only, read, rounding
from eval_hooks.config import TaskSpec, kept_margin
from eval_hooks.files import checkpoints, read_json, summary_of, write_json
from eval_hooks.measure import choice_rows
from eval_hooks.ready import Reader, Ready, load_items, reader_of, ready
from eval_hooks.table import choice_table, read_table
from trainers import TrainError, announce
from trainers.environment import same_machine
from trainers.evaluation import source_rows
from trainers.hashes import PARTS, changed, checkpoint_hashes, hashes_of
from trainers.models import forget
from trainers.quantise import BITS, quantise, require_torchao
from trainers.recipe import Recipe
from trainers.rundir import Place

if TYPE_CHECKING:
    import pyarrow as pa

    from eval_hooks.track import Tracker

Row = dict[str, Any]


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
    def start(self) -> "tuple[pa.Table, int]":
        """The table that the task is paired with, and its step."""
        step = (self.entry.get("retention") or {"baseline_step": self.place.offset})["baseline_step"]
        return read_table(self.place.root / "evals" / f"step-{step}" / f"{self.spec.called}.parquet"), step

    @property
    def arithmetic(self) -> str:
        """That of the trainer's numbers, as `float32, bfloat16 autocast`; DeepSpeed's engine casts and has none."""
        said = str(summary_of(self.evaluation)["precision"])
        return said.partition(",")[0] if self.arguments.deepspeed else said

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
        return against_start(self.start[0], table, margin, self.start[1])


def certified_task(recipe: Recipe) -> TaskSpec | None:
    """The first multiple-choice task to retain, else the first that is a target; None where there is none."""
    entries = (*recipe.eval.retain, *recipe.eval.target)
    return next((spec for spec in entries if row_of(spec.task).kind == "choice"), None)


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


def certify(
    recipe: Recipe, place: Place, step: int, *, bits: Sequence[int] = BITS, fresh: bool = False
) -> dict[str, Any]:
    """Make the certificate of a checkpoint, write it beside the weights, and return it.

    A certificate that is there already is compared with: where files differ from those it names, this one fails and the
    older one stays. `fresh` is for the run itself, which has just written them.
    Raises TrainError where there is nothing to compare with.
    """
    if bits:
        require_torchao()
    subject = open_subject(recipe, place, step)
    hashes = checkpoint_hashes(subject.folder, place.folder, subject.recipe)
    before = None if fresh else read(subject.folder)
    rows = [_trainer_row(subject)]
    if before:
        rows.append(files_row(before, hashes))
    with _threads_of(place.folder):
        rows += [_tokenizer_row(subject), *_form_rows(subject, bits)]
    made = {
        "made": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "run": str(place.folder.resolve()),
        "step": place.offset + step,
        "passed": all(row["passed"] for row in rows),
        "task": subject.spec.called,
        "prompt_hash": subject.entry["prompt_hash"],
        "arithmetic": subject.arithmetic,
        "seed": SEED,
        "items": subject.ids,
        "rows": rows,
        "hashes": hashes,
    }
    if not any(row["form"] == "files" and not row["passed"] for row in rows):
        write_json(subject.folder / FILE, made)
    return made


def open_subject(recipe: Recipe, place: Place, step: int) -> Subject:
    """A checkpoint of a run, before its weights are loaded. Raises TrainError for one that is not there."""
    from trainers.eval_tokenizer import eval_tokenizer
    from trainers.models import load_tokenizer, starting_point

    if step not in checkpoints(place.folder):
        there = ", ".join(map(str, checkpoints(place.folder))) or "none"
        raise TrainError(f"certify: {place.folder} has no checkpoint at step {step}; there is: {there}")
    _check_task(recipe)
    recipe = replace(recipe, model=starting_point(recipe.model))
    tokenizer = load_tokenizer(recipe.model)
    subject = Subject(
        recipe=recipe,
        place=place,
        step=step,
        tokenizer=tokenizer,
        reader=eval_tokenizer(place.root, tokenizer, recipe.model, main=True),
        arguments=SimpleNamespace(**read_json(place.folder / "recipe.resolved.json")["arguments"]),
    )
    subject.start, subject.measured  # noqa: B018 - read before anything costs time
    return subject


def _trainer_row(subject: Subject) -> Row:
    """What the others are compared with."""
    return {"form": "trainer", "passed": True, "reason": "", **subject.against(subject.measured)}


def files_row(before: Mapping[str, Any], hashes: Mapping[str, Any]) -> Row:
    """Whether the files are those that were certified before."""
    different = changed(before["hashes"], hashes)
    text = f"not those certified {before['made']}: {'; '.join(different)}" if different else ""
    return {"form": "files", "passed": not different, "reason": text}


def _tokenizer_row(subject: Subject) -> Row:
    """Whether the checkpoint's own tokenizer reads the items as the run's does."""
    from transformers import AutoTokenizer

    row: Row = {"form": "tokenizer", "passed": False}
    try:
        trust = subject.recipe.model.trust_remote_code
        own = AutoTokenizer.from_pretrained(subject.folder, trust_remote_code=trust)
    except Exception as error:
        return {**row, "reason": f"cannot be loaded: {_said(error)}"}
    settings = subject.reader[1]
    asked = [subject.asked(Reader(tokenizer=t, template_kwargs=settings)).prompt_hash for t in (subject.tokenizer, own)]
    if asked[0] != asked[1]:
        return {**row, "reason": "reads the items as other tokens than the run's did"}
    return {**row, "passed": True, "reason": ""}


def _form_rows(subject: Subject, bits: Sequence[int]) -> Iterator[Row]:
    """The checkpoint's model in each form, one after the other in memory; nothing after one that cannot be loaded."""
    adapted = (subject.folder / "adapter_config.json").is_file()
    forms: dict[str, Callable[[], tuple[Any, Row]]] = {"reloaded": lambda: (loaded(subject), {})}
    if adapted:
        forms["merged"] = lambda: (merged(subject), {})
    forms |= {f"{n}bit": partial(_rounded, subject, n) for n in bits}
    for form, make in forms.items():
        begin = time.monotonic()
        try:
            model, more = make()
        except Exception as error:
            reason = f"cannot be loaded: {_said(error)}"
            yield {"form": form, "passed": False, "reason": reason}
            return
        row = {"form": form, **_compared(subject, form, _prepared(model, subject)), **more}
        del model
        forget()
        yield {**row, "seconds": round(time.monotonic() - begin, 3)}


def _compared(subject: Subject, form: str, model: Any) -> Row:
    """How far the model is from what the trainer measured, and whether that is within the form's tolerance."""
    tokenizer, settings = subject.reader
    task = subject.asked(reader_of(model, tokenizer, settings))
    if task.prompt_hash != subject.entry["prompt_hash"]:
        raise TrainError(
            f"certify: the prompts of {task.name} are not those of {subject.evaluation} (hash {task.prompt_hash}, "
            f"there {subject.entry['prompt_hash']}); its items or the tokenizer in {subject.place.root} have changed"
        )
    place = {one.item.item_id: number for number, one in enumerate(task.choices)}
    rows = choice_rows(task, model, lambda n: None, only=[place[i] for i in subject.ids], intact=True)
    table = choice_table(rows)
    row = {**apart(subject.measured, table), **subject.against(table)}
    tolerance, why = TOLERANCES.get(form, by_verdict)(subject)
    found = row["retention"]["verdict"]
    passed = row["largest"] <= tolerance if tolerance is not None else found != "dropped"
    over = f"differs by up to {row['largest']:.3g} nats from what the trainer measured" if tolerance is not None else ""
    return {**row, "tolerance": tolerance, "why": why, "passed": passed, "reason": "" if passed else over or found}


def exactly(subject: Subject) -> tuple[float | None, str]:
    """Tolerance of the reloaded checkpoint."""
    bound = rounding(subject.arithmetic)
    if other := same_machine(read_json(subject.place.folder / "environment.json")):
        return bound, f"the run had {other}: the same sums in another order"
    if subject.arguments.deepspeed:
        return bound, "ZeRO-3 adds a layer's bias in a kernel of its own: the same sums in another order"
    if not subject.whole:
        return bound, "the trainer scored a part of the items, in other batches: the same sums in another order"
    return 0.0, "the run's machine and versions, prompts and batches: the same sums in the same order"


def nearly(subject: Subject) -> tuple[float | None, str]:
    """Tolerance of the merged adapter."""
    if subject.recipe.adapter.kind == "qlora":
        return None, "merged into the base before it was quantised: judged by what is lost"
    return rounding(subject.arithmetic), "W + BA at once in place of W and BA one after the other"


def by_verdict(subject: Subject) -> tuple[float | None, str]:
    """Of what changes the weights themselves."""
    return None, "judged by what is lost against the start: no loss is proven"


TOLERANCES: Mapping[str, Callable[[Subject], tuple[float | None, str]]] = {"reloaded": exactly, "merged": nearly}
"""Form -> (nats that a log-probability may differ by, why); None: the verdict of retention decides."""


def loaded(subject: Subject) -> Any:
    """The checkpoint's model, an adapter not merged, in the type it was trained in."""
    import torch
    import transformers

    from trainers.watched import of_checkpoint

    transformers.set_seed(subject.arguments.seed)  # rows of new tokens are drawn
    dtype: Any = subject.arithmetic.partition(",")[0]
    recipe = replace(subject.recipe, model=replace(subject.recipe.model, dtype=dtype))
    model = of_checkpoint(recipe, subject.folder, subject.tokenizer)
    return model.to(getattr(torch, dtype)) if subject.arguments.deepspeed else model  # the engine casts a LoRA too


def merged(subject: Subject) -> Any:
    """The same with an adapter merged into its base; one that was trained on a quantised base gets the whole one."""
    adapter = replace(subject.recipe.adapter, kind="lora") if subject.recipe.adapter.kind == "qlora" else None
    whole = replace(subject, recipe=replace(subject.recipe, adapter=adapter)) if adapter else subject
    model = loaded(whole)
    return model.merge_and_unload(safe_merge=True) if hasattr(model, "merge_and_unload") else model


def _rounded(subject: Subject, bits: int) -> tuple[Any, Row]:
    model = merged(subject)
    return model, {"share": quantise(model, bits)}


def _prepared(model: Any, subject: Subject) -> Any:
    """On this machine's device, with the trainer's autocast around its forward pass, if it had one.

    Without accelerate, which in a run that has just ended still means that run's ranks and DeepSpeed.
    """
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    if not getattr(model, "is_quantized", False):  # qlora's base is where it was loaded to
        model = model.to(device)
    _, _, autocast = subject.arithmetic.partition(", ")
    if autocast:
        model.forward = torch.autocast(device, getattr(torch, autocast.split()[0]))(model.forward)
    return model


@contextmanager
def _threads_of(run: Path) -> Iterator[None]:
    """As many threads as the run had: a sum over another number of them is another sum."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(read_json(run / "environment.json").get("cpu_threads", before))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0][:200]}"


def certify_run(recipe: Recipe, place: Place, steps: Sequence[int], tracker: "Tracker | None") -> dict[int, str]:
    """Certify the checkpoints of a run that has just ended; step -> `passed`, `failed: FORMS`, or why it has none.

    On the writing rank alone. What breaks here breaks no run: it is said, and stands in status.json.
    """
    from eval_hooks.ranks import alone
    from eval_hooks.report.words import certified

    out = {}
    for step in dict.fromkeys(steps):
        try:
            with alone():
                made = certify(recipe, place, step, fresh=True)
        except Exception as error:
            if recipe.eval.on_error == "stop":
                raise
            out[step] = f"not made: {_said(error)}"
            announce(f"certify   checkpoint-{step} has no certificate: {_said(error)}")
            continue
        out[step] = certified(made)
        announce(f"certify   checkpoint-{step} {out[step]}")
        if tracker:
            tracker.log(step, numbers(made))
    return out


def exported_is_whole(folder: Path) -> list[str]:
    """What of an exported folder is not as it was written, in words; empty where all is."""
    certificate = read(folder) or {}
    return changed(certificate["exported"], hashes_of(folder, PARTS))
