"""One evaluation of a live model.

Every task scored into a per-item table, every table summarised, all of it on disk.
"""

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eval_hooks.catalog import TASKS
from eval_hooks.config import MARGIN, Role, TaskSpec
from eval_hooks.encode import Encoded, encode
from eval_hooks.errors import EvalError
from eval_hooks.files import write_atomic
from eval_hooks.forward import Progress, no_progress
from eval_hooks.generate import answers, render
from eval_hooks.items import ChoiceSet, GenerateItem, LossItem
from eval_hooks.losses import token_losses
from eval_hooks.scoring import score
from eval_hooks.summary import failed_task, summarise_loss, summarise_task
from eval_hooks.table import choice_table, generate_table, loss_table, read_table, write_table
from eval_hooks.variants import FORMS

if TYPE_CHECKING:
    import pyarrow as pa

Bar = Callable[[int, str], AbstractContextManager[Progress]]
"""(total, description) -> a progress bar to enter."""


@dataclass(frozen=True, kw_only=True)
class Ready:
    """A task entry with its items rendered: all that is needed to score it again and again."""

    spec: TaskSpec
    role: Role
    choices: tuple[Encoded, ...] = ()
    prompts: tuple[GenerateItem, ...] = ()
    first_prompt: str = ""
    prompt_hash: str = ""
    """Over every prompt and option as the model reads them; tables with different hashes are never paired."""

    @property
    def name(self) -> str:
        """How tables, keys and pictures call it."""
        return self.spec.name or self.spec.task

    def __len__(self) -> int:
        return len(self.choices) + len(self.prompts)


@dataclass(frozen=True, kw_only=True)
class Reader:
    """How a model reads: its tokenizer, its template's settings, its longest input."""

    tokenizer: Any
    template_kwargs: Mapping[str, Any] = field(default_factory=dict)
    max_length: int = 2048


def reader_of(model: Any, tokenizer: Any, template_kwargs: Mapping[str, Any]) -> Reader:
    """The reader of a loaded model; one whose configuration names no longest input gets 2048 tokens."""
    limit = getattr(model.config.get_text_config(), "max_position_embeddings", None) or 2048
    return Reader(tokenizer=tokenizer, template_kwargs=template_kwargs, max_length=limit)


Items = ChoiceSet | tuple[GenerateItem, ...]


def load_items(spec: TaskSpec, rows: Sequence[Mapping[str, Any]] | None = None) -> Items:
    """What a task entry asks. `rows` are those of the task's data source, where it has one.

    Raises EvalError for an unknown task, missing rows, and all that loading refuses.
    """
    task = TASKS.get(spec.task)
    if task is None:
        raise EvalError(f"task {spec.task!r}: no such task; there are: {', '.join(TASKS)}")
    if task.load is not None:
        return task.load(spec)
    if not rows:
        raise EvalError(f"task {spec.task!r}: needs the rows of data source {task.source!r}, and got none")
    return tuple(_generate_item(row, f"{spec.split}/{i}") for i, row in enumerate(rows))[: spec.limit]


def ready(spec: TaskSpec, role: Role, reader: Reader, items: Items) -> Ready:
    """Render a task's items for a model. Raises EvalError for what rendering refuses."""
    if isinstance(items, ChoiceSet):
        encoded = tuple(encode(items, spec, reader.tokenizer, reader.max_length, dict(reader.template_kwargs)))
        texts = [item.prompt for item in encoded]
        digest = _hash([[item.shared, item.branches, item.scored] for item in encoded])
        return Ready(spec=spec, role=role, choices=encoded, first_prompt=texts[0], prompt_hash=digest)
    texts = [render(item, reader.tokenizer, dict(reader.template_kwargs)) for item in items]
    return Ready(
        spec=spec,
        role=role,
        prompts=items,
        first_prompt=texts[0],
        prompt_hash=_hash([texts, [item.gold for item in items], spec.max_new_tokens]),
    )


def _generate_item(row: Mapping[str, Any], item_id: str) -> GenerateItem:
    completion = row["completion"]
    gold = completion if isinstance(completion, str) else completion[-1]["content"]
    return GenerateItem(item_id=str(row.get("item_id") or item_id), prompt=row["prompt"], gold=gold)


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]


def measure(task: Ready, model: Any, reader: Reader, progress: Progress = no_progress) -> "pa.Table":
    """The per-item table of one task on the model as it is now."""
    common = {"task": task.name}
    if task.choices:
        cloze = FORMS[task.spec.variant].cloze
        scores = score(model, task.choices, task.spec.batch_tokens, progress)
        return choice_table(
            [
                {
                    **common,
                    "item_id": encoded.item.item_id,
                    "subject": encoded.item.subject,
                    "variant": task.spec.variant,
                    "shots": task.spec.shots,
                    "gold": encoded.item.gold,
                    "logp": list(result.logp),
                    "chars": [len(choice) for choice in encoded.item.choices],
                    "letter_mass": None if cloze else result.mass,
                    "prompt_tokens": encoded.context_tokens,
                }
                for encoded, result in zip(task.choices, scores, strict=True)
            ]
        )
    judge = TASKS[task.spec.task].judge
    assert judge is not None
    written = answers(
        model, reader.tokenizer, task.prompts, task.spec.max_new_tokens, dict(reader.template_kwargs), progress=progress
    )
    rows = []
    for item, answer in zip(task.prompts, written, strict=True):
        right, reason = judge(answer.text, item.gold)
        rows.append(
            {
                **common,
                "item_id": item.item_id,
                "prompt": answer.prompt,
                "output": answer.text,
                "gold": item.gold,
                "correct": right,
                "reason": reason,
                "n_tokens": answer.n_tokens,
                "hit_limit": answer.hit_limit,
            }
        )
    return generate_table(rows)


@dataclass(frozen=True, kw_only=True)
class Pass:
    """One evaluation: what to score, where it goes, what it is compared with."""

    tasks: Sequence[Ready]
    losses: Mapping[str, Sequence[LossItem]] = field(default_factory=dict)
    folder: Path | None
    """evals/step-N; None on the ranks that write nothing."""
    baseline: Path | None = None
    """evals/step-0, for retention."""
    margin: float = MARGIN
    samples: int = 8
    autocast: str | None = None
    """Arithmetic of the forward pass where it is not that of the weights, as in a Trainer with `bf16`."""
    keep_going: bool = True
    """A task that fails becomes a failed row; otherwise its error travels."""


def evaluate(run: Pass, model: Any, reader: Reader, step: int, tokens: int | None, bar: Bar) -> dict[str, Any]:
    """Score everything and return summary.json's content; tables and summary are written where `run.folder` says.

    Every rank makes the same forward passes; where `run.folder` is None nothing is summarised and the entries are
    empty.
    """
    begin = time.monotonic()
    precision = ", ".join([weights_dtype(model), *([f"{run.autocast} autocast"] if run.autocast else [])])
    summary: dict[str, Any] = {"step": step, "tokens": tokens, "precision": precision, "tasks": {}, "validation": {}}
    for task in run.tasks:
        start = time.monotonic()
        entry = _task_entry(run, task, model, reader, step, bar)
        summary["tasks"][task.name] = {**entry, "seconds": round(time.monotonic() - start, 3)}
    for name, items in run.losses.items():
        with bar(len(items), f"val {name} @{step}") as progress:
            losses = token_losses(model, items, progress=progress)
        table = loss_table(
            [
                {"task": name, "item_id": item.item_id, "nll": nll, "n_tokens": n}
                for item, (nll, n) in zip(items, losses, strict=True)
            ]
        )
        if run.folder:
            write_table(table, run.folder / f"val.{name}.parquet")
            summary["validation"][name] = summarise_loss(table)
    summary["seconds"] = round(time.monotonic() - begin, 3)
    if run.folder:
        write_atomic(run.folder / "summary.json", json.dumps(summary, indent=1, ensure_ascii=False).encode())
    return summary


def weights_dtype(model: Any) -> str:
    """Type of the model's first floating-point weights, as `float32`."""
    return next(str(p.dtype).removeprefix("torch.") for p in model.parameters() if p.is_floating_point())


def _task_entry(run: Pass, task: Ready, model: Any, reader: Reader, step: int, bar: Bar) -> dict[str, Any]:
    try:
        with bar(len(task), f"eval {task.name} @{step}") as progress:
            table = measure(task, model, reader, progress)
        if run.folder is None:
            return {}
        write_table(table, run.folder / f"{task.name}.parquet")
        return summarise_task(
            table,
            role=task.role,
            baseline=_baseline(run, task),
            margin=run.margin,
            prompt_hash=task.prompt_hash,
            first_prompt=task.first_prompt,
            samples=run.samples,
        )
    except Exception as error:  # a failed evaluation is a visible failed row, whatever broke it
        if not run.keep_going:
            raise
        return failed_task(task.role, f"{type(error).__name__}: {error}")


def _baseline(run: Pass, task: Ready) -> "pa.Table | None":
    """The step-0 table of the task, if there is one; EvalError where it was made from other prompts."""
    if run.baseline is None or run.folder == run.baseline or not (run.baseline / "summary.json").is_file():
        return None
    before = json.loads((run.baseline / "summary.json").read_text("utf-8"))["tasks"].get(task.name, {})
    if before.get("status") != "ok":
        return None
    if before["prompt_hash"] != task.prompt_hash:
        raise EvalError(
            f"{task.name}: {run.baseline} was scored with other prompts (hash {before['prompt_hash']}, now "
            f"{task.prompt_hash}); a pair needs the same"
        )
    return read_table(run.baseline / f"{task.name}.parquet")
