"""One evaluation of a live model.

Every task scored into a per-item table, every table summarised, all of it on disk.
"""

import copy
import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eval_hooks.catalog import TASKS, Judge
from eval_hooks.config import MARGIN, Role, TaskSpec
from eval_hooks.encode import Encoded, encode
from eval_hooks.errors import EvalError
from eval_hooks.files import write_atomic
from eval_hooks.forward import Progress, no_progress
from eval_hooks.generate import Answer, answers, render
from eval_hooks.items import ChoiceSet, GenerateItem, LossItem, RecallItem
from eval_hooks.known import Known
from eval_hooks.losses import token_losses
from eval_hooks.preference import PairItem, drawn_at_start, pairs_table, summarise_pairs
from eval_hooks.ranks import from_writer
from eval_hooks.recall import EncodedRecall, columns_of, encode_recall, recall, rouge_l_recall
from eval_hooks.scoring import score
from eval_hooks.summary import failed_task, summarise_loss, summarise_task
from eval_hooks.table import choice_table, generate_table, loss_table, read_table, recall_table, write_table
from eval_hooks.variants import FORMS

if TYPE_CHECKING:
    import pyarrow as pa

HeldOut = Sequence[LossItem] | Sequence[PairItem]
"""A validation set, tokenised."""
Bar = Callable[[int, str], AbstractContextManager[Progress]]
"""(total, description) -> a progress bar to enter."""


@dataclass(frozen=True, kw_only=True)
class Ready:
    """A task entry with its items rendered: all that is needed to score it again and again."""

    spec: TaskSpec
    role: Role
    choices: tuple[Encoded, ...] = ()
    prompts: tuple[GenerateItem, ...] = ()
    recalls: tuple[EncodedRecall, ...] = ()
    judge: Judge | None = None
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


def reader_of(model: Any, tokenizer: Any, template_kwargs: Mapping[str, Any], template: str | None = None) -> Reader:
    """The reader of a loaded model; one whose configuration names no longest input gets 2048 tokens.

    `template` stands in for the tokenizer's own chat template, without changing the tokenizer.
    """
    if template is not None and template != tokenizer.chat_template:
        tokenizer = copy.deepcopy(tokenizer)
        tokenizer.chat_template = template
    limit = getattr(model.config.get_text_config(), "max_position_embeddings", None) or 2048
    return Reader(tokenizer=tokenizer, template_kwargs=template_kwargs, max_length=limit)


Items = ChoiceSet | tuple[GenerateItem, ...] | tuple[RecallItem, ...]


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
        raise EvalError(f"task {spec.task!r}: needs the rows of a data source ({task.source}, say), and got none")
    named = [(row, str(row.get("item_id") or f"{spec.split}/{i}")) for i, row in enumerate(rows)][: spec.limit]
    if task.kind == "recall":
        return tuple(_recall_item(row, item_id) for row, item_id in named)
    return tuple(_generate_item(row, item_id) for row, item_id in named)


def ready(spec: TaskSpec, role: Role, reader: Reader, items: Items, judge: Judge | None = None) -> Ready:
    """Render a task's items for a model. Raises EvalError for what rendering refuses."""
    if isinstance(items, ChoiceSet):
        encoded = tuple(encode(items, spec, reader.tokenizer, reader.max_length, dict(reader.template_kwargs)))
        texts = [item.prompt for item in encoded]
        digest = _hash([[item.shared, item.branches, item.scored] for item in encoded])
        return Ready(spec=spec, role=role, choices=encoded, first_prompt=texts[0], prompt_hash=digest)
    texts = [render(item, reader.tokenizer, dict(reader.template_kwargs)) for item in items]
    golds = [item.gold if isinstance(item, GenerateItem) else item.answer for item in items]
    digest = _hash([texts, golds, spec.max_new_tokens])
    recalls = tuple(
        encode_recall(item, text, reader.tokenizer)
        for item, text in zip(items, texts, strict=True)
        if isinstance(item, RecallItem)
    )
    prompts = tuple(item if isinstance(item, GenerateItem) else as_prompt(item) for item in items)
    return Ready(
        spec=spec,
        role=role,
        prompts=prompts,
        recalls=recalls,
        judge=judge or TASKS[spec.task].judge,
        first_prompt=texts[0],
        prompt_hash=digest,
    )


def _generate_item(row: Mapping[str, Any], item_id: str) -> GenerateItem:
    gold = str(row["answer"]) if "answer" in row else _text(row["completion"])
    return GenerateItem(item_id=item_id, prompt=row["prompt"], gold=gold, row=row)


def _recall_item(row: Mapping[str, Any], item_id: str) -> RecallItem:
    """A row {prompt, completion}, or a pair; `value`, `answer_again`, `wrong_answers` where it has them.

    Without a `value` the whole answer is it.
    """
    answer = _text(row["chosen"] if "chosen" in row else row["completion"])
    return RecallItem(
        item_id=item_id,
        prompt=row["prompt"],
        answer=answer,
        value=row.get("value") or answer,
        again=row.get("answer_again") or "",
        wrong=(_text(row["rejected"]),) if "rejected" in row else tuple(row.get("wrong_answers") or ()),
    )


def as_prompt(item: RecallItem) -> GenerateItem:
    """The item as a prompt to answer freely."""
    return GenerateItem(item_id=item.item_id, prompt=item.prompt, gold=item.answer)


def _text(completion: Any) -> str:
    return completion if isinstance(completion, str) else completion[-1]["content"]


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]


def measure(task: Ready, model: Any, reader: Reader, progress: Progress = no_progress) -> "pa.Table":
    """The per-item table of one task on the model as it is now."""
    kinds = {"choice": _measure_choice, "generate": _measure_generate, "recall": _measure_recall}
    return kinds[TASKS[task.spec.task].kind](task, model, reader, progress)


def _measure_choice(task: Ready, model: Any, reader: Reader, progress: Progress) -> "pa.Table":
    cloze = FORMS[task.spec.variant].cloze
    scores = score(model, task.choices, task.spec.batch_tokens, progress)
    return choice_table(
        [
            {
                "task": task.name,
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


def _written(task: Ready, model: Any, reader: Reader, progress: Progress) -> list[Answer]:
    kwargs = dict(reader.template_kwargs)
    return answers(model, reader.tokenizer, task.prompts, task.spec.max_new_tokens, kwargs, progress=progress)


def _measure_generate(task: Ready, model: Any, reader: Reader, progress: Progress) -> "pa.Table":
    assert task.judge is not None
    rows = []
    for item, answer in zip(task.prompts, _written(task, model, reader, progress), strict=True):
        right, reason = task.judge(answer.text, item)
        rows.append(
            {
                "task": task.name,
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


def _measure_recall(task: Ready, model: Any, reader: Reader, progress: Progress) -> "pa.Table":
    kind = TASKS[task.spec.task]
    known = recall(model, task.recalls, task.spec.batch_tokens, no_progress if kind.writes else progress)
    written = _written(task, model, reader, progress) if kind.writes else [None] * len(known)
    rows = []
    for item, texts, answer in zip(task.recalls, known, written, strict=True):
        columns = columns_of(item, texts)
        rows.append(
            {
                "task": task.name,
                "item_id": item.item.item_id,
                "prompt": item.prompt,
                "output": answer.text if answer else None,
                "gold": item.item.answer,
                "value": item.item.value,
                **columns,
                "correct": kind.decides(columns),
                "rouge_l": rouge_l_recall(answer.text, item.item.answer) if answer else None,
            }
        )
    return recall_table(rows)


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

    Every rank makes the same forward passes; where `run.folder` is None nothing is summarised and the entries are
    empty.
    """
    begin = time.monotonic()
    summary: dict[str, Any] = {
        "step": step, "tokens": tokens, "precision": precision(run, model), "tasks": {}, "validation": {}
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
        asked = f"{task.name} {task.prompt_hash} {_hash(golds)}"
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
