"""One evaluation of one model, as `temper eval` makes it."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from eval_hooks.config import TaskSpec
from eval_hooks.evaluate import Pass
from eval_hooks.evaluate import evaluate as measure
from eval_hooks.files import step_in
from eval_hooks.generate import check_writes
from eval_hooks.progress import progress_bar
from eval_hooks.ready import load_items, reader_of, ready
from eval_hooks.report.words import doubts, unshared_words
from eval_hooks.results.text import number, percent
from eval_hooks.visible import terminal
from trainers.evaluation import judges, source_rows
from trainers.recipe import ModelSection
from trainers.rundir import find_run, keep_date


def evaluate(*, model: ModelSection, tasks: Sequence[TaskSpec], out: Path | None = None) -> dict[str, Any]:
    """Measure a model, print the numbers, return summary.json's content; `out` keeps it with the per-item tables.

    Raises TrainError for a model that cannot be had, EvalError for a task that cannot be asked.
    """
    import torch

    from trainers.models import load_model, load_tokenizer

    asked = [load_items(spec, source_rows(spec) if spec.rows else None) for spec in tasks]
    keep_date_of(model.path)
    tokenizer = load_tokenizer(model)
    loaded = load_model(model, tokenizer).to("cuda" if torch.cuda.is_available() else "cpu")
    reader = reader_of(loaded, tokenizer, model.chat_template_kwargs)
    prepared = [
        ready(spec, "target", reader, items, judges().get(spec.task)) for spec, items in zip(tasks, asked, strict=True)
    ]
    check_writes(loaded, [task.name for task in prepared if task.generates])
    with tempfile.TemporaryDirectory() as scratch:
        run = Pass(tasks=prepared, folder=out or Path(scratch), keep_going=False)
        summary = measure(run, loaded, reader, step_of(model.path), None, progress_bar)
    show(summary, out)
    return summary


def keep_date_of(path: str) -> None:
    """Have templates told what they were in the run (of a stage: the pipeline) of RUN:STEP or a checkpoint's folder."""
    run = find_run(path.rpartition(":")[0]) if ":" in path else Path(path).resolve().parent.parent
    if run is not None and (run / "recipe.resolved.json").is_file():
        whole = run.resolve()
        keep_date(whole.parents[1] if whole.parent.name == "stages" else whole)


def step_of(path: str) -> int:
    """The step of RUN:STEP or of a checkpoint folder, else 0."""
    tail = path.rpartition(":")[2] if ":" in path else Path(path).name.removeprefix("checkpoint-")
    return step_in(f"checkpoint-{tail}", "checkpoint") or 0


def show(summary: dict[str, Any], out: Path | None) -> None:
    """Accuracy and calibration of each task, each with its interval."""
    console = terminal()
    for name, task in summary["tasks"].items():
        asked = f", {task['variant']}, {task['shots']} shots" if task["variant"] else ""
        grid = Table(title=f"{escape(name)}: {task['n']} items{asked}, {task['seconds']:.0f} s", title_justify="left")
        grid.add_column("measure")
        grid.add_column("value, 95 % interval")
        if task.get("score"):
            grid.add_row(escape(f"score, {task['unit']}"), number(task["score"]))
        else:
            grid.add_row("accuracy", percent(task["accuracy"]))
        if task.get("accuracy_macro"):
            grid.add_row("accuracy, mean of subjects", percent(task["accuracy_macro"]))
            grid.add_row("accuracy of guessing", f"{100 * task['chance']:.1f} %")
        for key, value in (task.get("calibration") or {}).items():
            grid.add_row(escape(key), number(value))
        for key, value in (task.get("metrics") or {}).items():
            grid.add_row(escape(key), number(value))
        if task.get("hit_limit") is not None:
            grid.add_row("answers cut off at the limit", f"{100 * task['hit_limit']:.0f} %")
        console.print(grid)
        for doubt in doubts(name, task):
            console.print(f"[yellow]{escape(doubt)}[/yellow]")
    if summary["unshared"]:
        console.print(f"[dim]{escape(unshared_words(summary))}[/dim]")
    if out:
        console.print(f"[dim]tables and summary.json are in {escape(str(out))}[/dim]")
