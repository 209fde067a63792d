"""One evaluation of a live model.

Every task scored into a per-item table, every table summarised, all of it on disk.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eval_hooks.calibration.rescaled import calibration_file
from eval_hooks.config import MARGIN, Over
from eval_hooks.copies import copies
from eval_hooks.cost import Cost
from eval_hooks.errors import EvalError
from eval_hooks.files import CALIBRATION, summary_of, write_atomic, write_json
from eval_hooks.forward import Progress, no_progress
from eval_hooks.items import LossItem
from eval_hooks.json_text import json_text
from eval_hooks.known import Known
from eval_hooks.losses import token_losses
from eval_hooks.measure import measure
from eval_hooks.preference import PairItem, drawn_at_start, pairs_table
from eval_hooks.progress import Bar
from eval_hooks.ranks import AbandonedError, from_writer, on_writer, other_ranks
from eval_hooks.ready import Reader, Ready, digest
from eval_hooks.results.prompts import difference, of_entry
from eval_hooks.retention.noise import measured as noise_measured
from eval_hooks.retention.reading import flips_to_read
from eval_hooks.retention.spending import ALONE, Look
from eval_hooks.retention.strata import FEWEST
from eval_hooks.scoring.packing import unshared
from eval_hooks.scoring.pass_size import PassSize, current, size_for, sized
from eval_hooks.summary import failed_task, summarise_held_out, summarise_task
from eval_hooks.table import choice_table, loss_table, read_table, readable, seconds_of, stamped, write_table
from eval_hooks.tasks.kinds.choice import choice_rows
from eval_hooks.vllm import engine
from eval_hooks.waves import Drawn, Looks, in_waves

if TYPE_CHECKING:
    import pyarrow as pa

HeldOut = Sequence[LossItem] | Sequence[PairItem]
"""A validation set, tokenised."""


@dataclass(frozen=True, kw_only=True)
class Pass:
    """One evaluation: what to score, where it goes, what it is compared with."""

    tasks: Sequence[Ready]
    held_out: Mapping[str, HeldOut] = field(default_factory=dict)
    folder: Path | None
    """evals/step-N; None on the ranks that write nothing."""
    start: Path | None = None
    """The run's first evaluation, for held-out pairs; None at that one."""
    seam: bool = False
    """What is measured there already stays: where one run of a pipeline ends and the next starts, and for a watcher."""
    baselines: Mapping[str, Path] = field(default_factory=dict)
    """Task -> the evaluation it is paired with, for retention."""
    may_claim: Mapping[str, Look] = field(default_factory=dict)
    """Role -> what this evaluation may claim of a task of it, being one of the run's; default: as if it were alone."""
    spending: Mapping[str, Any] | None = None
    """What it spends of the run's chance of a wrong word; None at a start."""
    margin: float = MARGIN
    over: Over = "items"
    """What a verdict is to hold for: other items like these, or new subjects."""
    samples: int = 8
    autocast: str | None = None
    """Arithmetic of the forward pass where it is not that of the weights, as in a Trainer with `bf16`."""
    known: Known | None = None
    """Where the model is a start that may have been measured before."""
    twice: bool = False
    """The closest items of choice tasks are scored a second time in other batches: what differs is the noise floor."""
    whole: Callable[[Any], AbstractContextManager[None]] = nullcontext
    """Entered with the model around a task that generates: gathers sharded weights, or has an engine write."""
    looks: Looks | None = None
    """Choice tasks to retain are scored in waves, up to a decision."""
    last: Path | None = None
    """The evaluation before this one: what flipped there steers the waves."""
    cost: Cost = field(default_factory=Cost)
    """What this evaluation is added to."""
    counts: bool = False
    """Whether it counts against the cost limit."""
    foreseen: Mapping[str, Any] = field(default_factory=dict)
    """At step 0: how many `evaluations` are to follow, and what they will be able to say."""
    size: PassSize | None = None
    """Of the forward passes; None: what suits the machine."""
    keep_going: bool = True
    """A task that fails becomes a failed row; otherwise its error travels."""


def evaluate(run: Pass, model: Any, reader: Reader, step: int, tokens: int | None, bar: Bar) -> dict[str, Any]:
    """Score everything and return summary.json's content; tables and summary are written where `run.folder` says.

    The ranks share the forward passes out; where `run.folder` is None nothing is summarised and the entries are empty.
    """
    begin, size = time.monotonic(), run.size or size_for(model)
    earlier = from_writer(summary_of(run.folder) if run.folder else {}) if run.seam else {}
    with run.cost.measuring(run.counts), sized(size):
        tasks = _tasks(run, model, reader, step, bar, earlier.get("tasks", {}))
        validation, failed = _held_out(run, model, reader, step, bar)
        found: dict[str, Mapping[str, Any]] = {
            "tasks": tasks, "validation": validation, "validation_failed": failed
        }  # fmt: skip
    seconds = time.monotonic() - begin
    reason = unshared(model)
    summary: dict[str, Any] = {
        "step": step, "tokens": tokens, "precision": precision(run, model), "shared_prefix": reason is None,
        "unshared": reason, "pass_size": asdict(size),
    }  # fmt: skip
    summary["spending"] = run.spending or earlier.get("spending")
    summary |= {part: {**earlier.get(part, {}), **entries} for part, entries in found.items()}
    summary |= {"seconds": round(earlier.get("seconds", 0.0) + seconds, 3), "cost": run.cost.entry()}
    if run.foreseen:
        each = seconds + sum(entry.get("seconds_saved", 0.0) for entry in summary["tasks"].values())
        summary["foreseen"] = {**run.foreseen, "seconds": round(run.foreseen["evaluations"] * each, 3)}
    if run.folder:
        if fitted := calibration_file(summary["tasks"]):
            write_atomic(run.folder / CALIBRATION, json_text(fitted, indent=1).encode())
        note(run.folder, summary)
    return summary


def note(folder: Path, summary: Mapping[str, Any]) -> None:
    """Write an evaluation's summary."""
    write_json(folder / "summary.json", summary)


def _tasks(
    run: Pass, model: Any, reader: Reader, step: int, bar: Bar, earlier: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    out = {}
    for task in run.tasks:
        begin, there = time.monotonic(), earlier.get(task.name)
        if there and there["status"] == "ok" and there["prompt_hash"] == task.prompt_hash:
            continue  # the same weights were asked the same, at the end of the run before
        with run.whole(model) if task.generates else nullcontext():
            entry = _task_entry(run, task, model, reader, step, bar)
            by = {"written_by": "vLLM"} if engine() else {}
        out[task.name] = {**entry, **by, "seconds": round(time.monotonic() - begin, 3)}
    return out


def _held_out(
    run: Pass, model: Any, reader: Reader, step: int, bar: Bar
) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """(the validation sets' entries, what went wrong with those that could not be measured)."""
    out: dict[str, dict[str, Any]] = {}
    failed: dict[str, str] = {}
    for name, items in run.held_out.items():
        try:
            before = _start_table(run, name)
            with bar(len(items), f"val {name} @{step}") as progress:
                table = held_out_table(name, model, reader, items, before, progress)
            if run.folder:
                write_table(table, run.folder / f"val.{name}.parquet")
                out[name] = summarise_held_out(table, before)
        except Exception as error:  # as of a task: a visible failed row
            failed[name] = _failure(run, error)
    return out, failed


def _failure(run: Pass, error: Exception) -> str:
    """What went wrong, in a line; raised again where the run is to end with it."""
    if not run.keep_going or isinstance(error, AbandonedError):
        raise error
    return f"{type(error).__name__}: {error}"


def _start_table(run: Pass, name: str) -> "pa.Table | None":
    """The validation set's table of the run's first evaluation, on the writing rank."""
    file = run.start / f"val.{name}.parquet" if run.start and run.folder else None
    return read_table(file) if file and file.is_file() else None


def held_out_table(
    name: str, model: Any, reader: Reader, items: HeldOut, before: "pa.Table | None", progress: Progress
) -> "pa.Table":
    """The per-item table of a validation set: losses of rows, or log-probabilities of pairs."""
    pairs = [item for item in items if isinstance(item, PairItem)]
    if pairs:
        starts = from_writer(drawn_at_start(before) if before else None)
        return pairs_table(name, model, reader.tokenizer, pairs, starts, progress)
    rows = [item for item in items if isinstance(item, LossItem)]
    found = token_losses(model, rows, progress=progress)
    again = copies([item.item_id for item in rows], [(item.input_ids, item.labels) for item in rows])
    return loss_table(
        [
            {"task": name, "item_id": item.item_id, "nll": nll, "n_tokens": n, "copy_of": again.get(item.item_id)}
            for item, (nll, n) in zip(rows, found, strict=True)
        ]
    )


def weights_dtype(model: Any) -> str:
    """Type of the model's first floating-point weights, as `float32`."""
    return next(str(p.dtype).removeprefix("torch.") for p in model.parameters() if p.is_floating_point())


def half_precision(arguments: Any) -> str | None:
    """The 16-bit type that training arguments ask for, as `bfloat16`."""
    return "bfloat16" if arguments.bf16 else "float16" if arguments.fp16 else None


def autocast(arguments: Any) -> str | None:
    """The type that a trainer's forward pass casts to; DeepSpeed's engine casts the weights instead."""
    return None if arguments.deepspeed else half_precision(arguments)


def precision(run: Pass, model: Any) -> str:
    """The arithmetic of the numbers: type of the weights, and autocast where it is on."""
    return ", ".join([weights_dtype(model), *([f"{run.autocast} autocast"] if run.autocast else [])])


def _drawn(run: Pass, task: Ready) -> Drawn | None:
    """How the task is drawn, on the writing rank, where it is scored in waves."""
    fits = run.looks is not None and task.role == "retain" and len(task.choices) >= FEWEST
    before = _baseline(run, task) if fits and run.folder else None
    if before is None or run.looks is None:
        return None
    last = known_entry(run.last, task.name) if run.last else None
    return Drawn(before[0], run.looks, (last or {}).get("waves"), run.cost.used_up)


def _table(run: Pass, task: Ready, model: Any, reader: Reader, progress: Progress) -> "tuple[pa.Table, float]":
    """The task's table, found where the same start was asked the same, else measured; and the seconds that saved."""
    if not task.choices:
        return measure(task, model, reader, progress), 0.0
    if run.known is None:
        return _scored(run, task, model, reader, progress), 0.0
    file = None
    if run.folder:
        golds = [[one.item.item_id, one.item.gold, task.copies.get(one.item.item_id)] for one in task.choices]
        asked = f"{task.name} {task.prompt_hash} {digest(golds)}"
        size = replace(current(), tokens=task.spec.batch_tokens or current().tokens)
        file = run.known.file(model, precision(run, model), asked, size)
    found = from_writer(readable(file) if file else None)
    if found is not None:
        progress(len(task))
        return found, seconds_of(found)
    table = _scored(run, task, model, reader, progress)
    if file:
        write_table(table, file)
    return table, 0.0


def _scored(run: Pass, task: Ready, model: Any, reader: Reader, progress: Progress) -> "pa.Table":
    """A choice task's table, with a note of its seconds and, where asked for, of the noise floor of its arithmetic."""
    begin = time.monotonic()
    table = measure(task, model, reader, progress)
    seconds = time.monotonic() - begin
    if not run.twice:
        return stamped(table, seconds)
    tokens = task.spec.batch_tokens or current().tokens
    other = replace(task, spec=replace(task.spec, batch_tokens=max(1, tokens // 2)))

    def again(items: Sequence[int]) -> "pa.Table":
        with other_ranks():
            return choice_table(choice_rows(other, model, no_progress, only=items))

    return stamped(table, seconds, noise_measured(table, again).as_dict())


def _task_entry(run: Pass, task: Ready, model: Any, reader: Reader, step: int, bar: Bar) -> dict[str, Any]:
    try:
        drawn, saved = on_writer(lambda: _drawn(run, task)), 0.0
        waves = from_writer(drawn is not None)
        with bar(len(task), f"eval {task.name} @{step}") as progress:
            if waves:
                table = in_waves(task, model, drawn, progress)
            else:
                table, saved = _table(run, task, model, reader, progress)
        apart = None if waves else _validation(run, task, model, reader, step, bar)
        if run.folder is None:
            return {}
        write_table(table, run.folder / f"{task.name}.parquet")
        before = _baseline(run, task)
        asked = {one.item.item_id: one.item for one in task.choices}
        entry = summarise_task(
            table,
            role=task.role,
            baseline=before[0] if before else None,
            baseline_step=before[1] if before else 0,
            margin=run.margin,
            over=run.over,
            prompt_hash=task.prompt_hash,
            first_prompt=task.first_prompt,
            samples=run.samples,
            goal=task.spec.goal,
            drawn=drawn,
            validation=apart,
            temperature_split=None if waves else task.spec.temperature_split,
            look=run.may_claim.get(task.role, ALONE),
        )
        flips = flips_to_read(before[0], table, asked) if before else []
        cut = sum(one.cut > 0 for one in task.choices)
        return {**entry, "flips": flips, "cut": cut, "seconds_saved": saved}
    except Exception as error:  # a failed evaluation is a visible failed row, whatever broke it
        return failed_task(task.role, _failure(run, error))


def _validation(run: Pass, task: Ready, model: Any, reader: Reader, step: int, bar: Bar) -> "pa.Table | None":
    """The table of the items that fit a temperature, where one is asked for; written beside the task's own."""
    apart = task.validation
    if apart is None:
        return None
    with bar(len(apart), f"eval {apart.name} @{step}") as progress:
        table, _ = _table(replace(run, twice=False), apart, model, reader, progress)  # paired with nothing
    if run.folder:
        split = [[apart.spec.split] * table.num_rows]
        write_table(table.append_column("split", split), run.folder / f"{apart.name}.parquet")
    return table


def _baseline(run: Pass, task: Ready) -> "tuple[pa.Table, int] | None":
    """The table a task is paired with, and its step, if there is one; EvalError where other prompts made it."""
    folder = run.baselines.get(task.name)
    if folder is None or folder == run.folder:
        return None
    before = known_entry(folder, task.name)
    if before is None or before["status"] != "ok":
        return None
    if before["prompt_hash"] != task.prompt_hash:
        raise EvalError(f"{task.name}: {other_prompts(folder, before, task)}; a pair needs the same")
    return read_table(folder / f"{task.name}.parquet"), int(folder.name.removeprefix("step-"))


def other_prompts(folder: Path, before: Mapping[str, Any], task: Ready) -> str:
    """That the evaluation in a folder, whose entry of the task is `before`, was asked otherwise than now, and where."""
    then = of_entry(str(folder), before, readable(folder / f"{task.name}.parquet"))
    hashes = f"hash {before['prompt_hash']}, now {task.prompt_hash}"
    return f"{folder} was asked with other prompts ({hashes}): {difference(then, task.asked('what is asked now'))}"


def has_base(folder: Path, name: str) -> bool:
    """Whether a task can be paired with an evaluation: its entry is there, and its table, unless it failed."""
    entry = summary_of(folder).get("tasks", {}).get(name)
    return entry is not None and (entry["status"] == "failed" or (folder / f"{name}.parquet").is_file())


def known_entry(folder: Path, name: str) -> dict[str, Any] | None:
    """What a summary on disk says of a task that was measured."""
    entry = summary_of(folder).get("tasks", {}).get(name)
    return entry if entry and entry["status"] != "failed" else None
