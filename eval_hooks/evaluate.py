"""One evaluation of a live model.

Every task scored into a per-item table, every table summarised, all of it on disk.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eval_hooks.config import MARGIN
from eval_hooks.errors import EvalError
from eval_hooks.files import write_atomic
from eval_hooks.forward import Progress, unshared
from eval_hooks.items import LossItem
from eval_hooks.known import Known
from eval_hooks.losses import token_losses
from eval_hooks.measure import measure
from eval_hooks.preference import PairItem, drawn_at_start, pairs_table, summarise_pairs
from eval_hooks.ranks import from_writer
from eval_hooks.ready import Reader, Ready, digest
from eval_hooks.summary import failed_task, summarise_loss, summarise_task
from eval_hooks.table import loss_table, read_table, write_table

if TYPE_CHECKING:
    import pyarrow as pa

HeldOut = Sequence[LossItem] | Sequence[PairItem]
"""A validation set, tokenised."""
Bar = Callable[[int, str], AbstractContextManager[Progress]]
"""(total, description) -> a progress bar to enter."""


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
    """The end of one run of a pipeline and the start of the next: what is measured there already stays."""
    baselines: Mapping[str, Path] = field(default_factory=dict)
    """Task -> the evaluation it is paired with, for retention."""
    margin: float = MARGIN
    samples: int = 8
    autocast: str | None = None
    """Arithmetic of the forward pass where it is not that of the weights, as in a Trainer with `bf16`."""
    known: Known | None = None
    """Where the model is a start that may have been measured before."""
    keep_going: bool = True
    """A task that fails becomes a failed row; otherwise its error travels."""


def evaluate(run: Pass, model: Any, reader: Reader, step: int, tokens: int | None, bar: Bar) -> dict[str, Any]:
    """Score everything and return summary.json's content; tables and summary are written where `run.folder` says.

    The ranks share the forward passes out; where `run.folder` is None nothing is summarised and the entries are empty.
    """
    begin = time.monotonic()
    reason = unshared(model)
    summary: dict[str, Any] = {
        "step": step, "tokens": tokens, "precision": precision(run, model), "shared_prefix": reason is None,
        "unshared": reason, "tasks": {}, "validation": {},
    }  # fmt: skip
    earlier = from_writer(_earlier(run.folder)) if run.seam else {}
    for task in run.tasks:
        start = time.monotonic()
        there = earlier.get("tasks", {}).get(task.name)
        if there and there["status"] == "ok" and there["prompt_hash"] == task.prompt_hash:
            continue  # the same weights were asked the same, at the end of the run before
        entry = _task_entry(run, task, model, reader, step, bar)
        summary["tasks"][task.name] = {**entry, "seconds": round(time.monotonic() - start, 3)}
    for name, items in run.held_out.items():
        before = _start_table(run, name)
        with bar(len(items), f"val {name} @{step}") as progress:
            table = held_out_table(name, model, reader, items, before, progress)
        if run.folder:
            write_table(table, run.folder / f"val.{name}.parquet")
            summary["validation"][name] = _held_out_entry(table, before)
    for part in ("tasks", "validation"):
        summary[part] = {**earlier.get(part, {}), **summary[part]}
    summary["seconds"] = round(earlier.get("seconds", 0.0) + time.monotonic() - begin, 3)
    if run.folder:
        write_atomic(run.folder / "summary.json", json.dumps(summary, indent=1, ensure_ascii=False).encode())
    return summary


def _earlier(folder: Path | None) -> dict[str, Any]:
    """What was measured there before: at the seam of two runs of a pipeline."""
    file = folder / "summary.json" if folder else None
    return json.loads(file.read_text("utf-8")) if file and file.is_file() else {}


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
    return loss_table(
        [
            {"task": name, "item_id": item.item_id, "nll": nll, "n_tokens": n}
            for item, (nll, n) in zip(rows, found, strict=True)
        ]
    )


def _held_out_entry(table: "pa.Table", before: "pa.Table | None") -> dict[str, Any]:
    return summarise_pairs(table, before) if "chosen_logp" in table.column_names else summarise_loss(table)


def weights_dtype(model: Any) -> str:
    """Type of the model's first floating-point weights, as `float32`."""
    return next(str(p.dtype).removeprefix("torch.") for p in model.parameters() if p.is_floating_point())


def precision(run: Pass, model: Any) -> str:
    """The arithmetic of the numbers: type of the weights, and autocast where it is on."""
    return ", ".join([weights_dtype(model), *([f"{run.autocast} autocast"] if run.autocast else [])])


def _readable(file: Path) -> "pa.Table | None":
    """A table that is there and whole."""
    try:
        return read_table(file) if file.is_file() else None
    except EvalError:
        return None


def _table(run: Pass, task: Ready, model: Any, reader: Reader, progress: Progress) -> "pa.Table":
    """The task's table: found, where the same start was asked the same before, else measured."""
    if run.known is None or not task.choices:
        return measure(task, model, reader, progress)
    file = None
    if run.folder:
        golds = [[one.item.item_id, one.item.gold] for one in task.choices]
        asked = f"{task.name} {task.prompt_hash} {digest(golds)}"
        file = run.known.file(model, precision(run, model), asked, task.spec.batch_tokens)
    found = from_writer(_readable(file) if file else None)
    if found is not None:
        progress(len(task))
        return found
    table = measure(task, model, reader, progress)
    if file:
        write_table(table, file)
    return table


def _task_entry(run: Pass, task: Ready, model: Any, reader: Reader, step: int, bar: Bar) -> dict[str, Any]:
    try:
        with bar(len(task), f"eval {task.name} @{step}") as progress:
            table = _table(run, task, model, reader, progress)
        if run.folder is None:
            return {}
        write_table(table, run.folder / f"{task.name}.parquet")
        before = _baseline(run, task)
        return summarise_task(
            table,
            role=task.role,
            baseline=before[0] if before else None,
            baseline_step=before[1] if before else 0,
            margin=run.margin,
            prompt_hash=task.prompt_hash,
            first_prompt=task.first_prompt,
            samples=run.samples,
            goal=task.spec.goal,
        )
    except Exception as error:  # a failed evaluation is a visible failed row, whatever broke it
        if not run.keep_going:
            raise
        return failed_task(task.role, f"{type(error).__name__}: {error}")


def _baseline(run: Pass, task: Ready) -> "tuple[pa.Table, int] | None":
    """The table a task is paired with, and its step, if there is one; EvalError where other prompts made it."""
    folder = run.baselines.get(task.name)
    if folder is None or folder == run.folder:
        return None
    before = known_entry(folder, task.name)
    if before is None:
        return None
    if before["prompt_hash"] != task.prompt_hash:
        raise EvalError(
            f"{task.name}: {folder} was scored with other prompts (hash {before['prompt_hash']}, now "
            f"{task.prompt_hash}); a pair needs the same"
        )
    return read_table(folder / f"{task.name}.parquet"), int(folder.name.removeprefix("step-"))


def known_entry(folder: Path, name: str) -> dict[str, Any] | None:
    """What a summary on disk says of a task that was measured."""
    file = folder / "summary.json"
    entry = json.loads(file.read_text("utf-8"))["tasks"].get(name) if file.is_file() else None
    return entry if entry and entry["status"] == "ok" else None
