"""The last screen: three questions, answered with numbers and in words."""

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table

from eval_hooks.files import checkpoints
from eval_hooks.report.view import RunView, StageTable, paired_changes, read_run, retained, stage_table
from eval_hooks.report.words import (
    adjusted,
    at_temperature,
    calibrated,
    certified,
    changed,
    copied,
    debiased,
    doubts_now,
    flipped,
    items,
    judged_for,
    kept,
    question,
    reached,
    rise_over_run,
    run_said,
)
from eval_hooks.results.text import detectable, entry_number
from eval_hooks.tasks.kinds import kind_of_entry
from eval_hooks.visible import terminal

COLOURS = {"dropped": "red", "gained": "green", "kept": "green", "undecided": "yellow"}


def print_screen(folder: Path, console: Console | None = None) -> None:
    """Show a run's answers on the terminal."""
    console, run = console or terminal(), read_run(folder)
    if seams := stage_table(run):
        console.print(table_over_stages(seams))
    console.print(last_screen(run))
    for line in _places(run):
        console.print(line, soft_wrap=True, highlight=False)  # whole, so that it can be copied


def table_over_stages(seams: StageTable) -> Table:
    """A pipeline's tasks at the seams of its runs."""
    table = Table(title="What each run did", title_justify="left")
    table.add_column("task")
    for name in seams.columns:
        table.add_column(escape(name))
    for name, cells in seams.rows:
        table.add_row(escape(name), *(entry_number(cell) if cell else "" for cell in cells))
    return table


def last_screen(run: RunView) -> Panel:
    """Target up? Knowledge kept? Still calibrated?"""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column()
    for asked, answer in [
        *_targets(run),
        *_losses(run),
        *_retained(run),
        *_calibration(run),
        *_doubts(run),
        *_budget(run),
        *_certificates(run),
        *_failures(run),
    ]:
        grid.add_row(asked, answer)
    steps = f"step {run.first['step']} to {run.last['step']}"
    return Panel(
        grid,
        title=f"[bold]{escape(run.folder.name)}[/bold]: {steps}",
        border_style="cyan",
        expand=False,
    )


def _tasks(run: RunView, role: str) -> Iterator[tuple[str, Any, Any]]:
    for name, after in run.last["tasks"].items():
        if after["role"] == role and after["status"] != "failed":
            yield name, run.before(name), after


def _targets(run: RunView) -> Iterator[tuple[str, str]]:
    for name, before, after in _tasks(run, "target"):
        change, moved = (
            after["retention"],
            f"{escape(name)} {entry_number(before)} -> {entry_number(after)}",
        )
        if not change:
            yield question(after), f"one evaluation only: {moved}"
            continue
        word, verdict = reached(after)
        paired = f"change {changed(change)}, n = {after['n']}{judged_for(change)}{_copied(after)}"
        yield (
            question(after),
            f"[{COLOURS[verdict]}]{word}[/{COLOURS[verdict]}]: {moved}\n{paired}{_recall(before, after)}",
        )


def _recall(before: Any, after: Any) -> str:
    lines = kind_of_entry(after).show(before, after)
    return f"\n[dim]{escape('; '.join(lines))}[/dim]" if lines else ""


def _copied(after: Any) -> str:
    return f"\n[dim]{said}[/dim]" if (said := copied(after)) else ""


def _looks(run: RunView, name: str) -> str:
    said = run_said(paired_changes(run, name), retained(run))
    return f"\n{said}" if said else ""


def _beyond_guessing(change: Any) -> str:
    return f"\n{said}" if (said := adjusted(change)) else ""


def _losses(run: RunView) -> Iterator[tuple[str, str]]:
    for name, after in run.last.get("validation", {}).items():
        if before := run.held_out_before(name):
            said = kind_of_entry(after).held_out
            asked, answer = said(name, before, after) if said else (name, "")
            yield escape(asked), escape(answer)
    for name, error in run.last.get("validation_failed", {}).items():
        yield escape(f"val {name}"), escape(f"not measured at the last evaluation: {error}")


def _retained(run: RunView) -> Iterator[tuple[str, str]]:
    for name, before, after in _tasks(run, "retain"):
        change = after["retention"]
        if not change:
            yield "Knowledge kept?", f"{escape(name)} {entry_number(after)}, no later evaluation"
            continue
        colour = COLOURS[change["verdict"]]
        yield (
            "Knowledge kept?",
            (
                f"[{colour}]{kept(change)}[/{colour}]\n"
                f"{escape(name)} {entry_number(before)} -> {entry_number(after)}, {items(after)}"
                f"{judged_for(change)}{_copied(after)}\n"
                f"{flipped(change)}{detectable(change)}"
                f"{_beyond_guessing(change)}"
                f"{_looks(run, name)}"
                f"{_recall(before, after)}"
            ),
        )


def _calibration(run: RunView) -> Iterator[tuple[str, str]]:
    for name, before, after in _tasks(run, "retain"):
        if after.get("calibration") and before.get("calibration"):
            auroc = after["calibration"]["auroc"]
            tail = f"; {debiased(before['calibration'], after['calibration'])}"
            tail += f"; AUROC {auroc['value']:.2f}" if auroc["value"] is not None else ""
            tail += f"\n[dim]{fitted}[/dim]" if (fitted := at_temperature(after)) else ""
            rise = rise_over_run(after["retention"])
            yield (
                "Still calibrated?",
                f"{escape(name)}: {calibrated(before['calibration']['ece'], after['calibration']['ece'], rise)}{tail}",
            )


def _doubts(run: RunView) -> Iterator[tuple[str, str]]:
    for name in run.last["tasks"]:
        for doubt in doubts_now(name, run.before(name), run.last["tasks"][name]):
            yield "[yellow]Beware[/yellow]", f"[yellow]{escape(doubt)}[/yellow]"


def _budget(run: RunView) -> Iterator[tuple[str, str]]:
    for line in run.budget:
        said = f"step {line['step']}: {line['budget/action'] or 'crossed'}: {line['budget/reason']}"
        yield "[yellow]Budget[/yellow]", f"[yellow]{escape(said)}[/yellow]"


def _certificates(run: RunView) -> Iterator[tuple[str, str]]:
    for certificate in run.certificates:
        colour = "green" if certificate["passed"] else "red"
        yield "Certificate", f"[{colour}]step {certificate['step']} {escape(certified(certificate))}[/{colour}]"


def _failures(run: RunView) -> Iterator[tuple[str, str]]:
    for summary in run.summaries:
        for name, task in summary["tasks"].items():
            if task["status"] == "failed":
                yield (
                    "[red]Failed[/red]",
                    f"[red]{escape(name)} at step {summary['step']}: {escape(task['error'])}[/red]",
                )


def _places(run: RunView) -> Iterator[str]:
    if saved := list(checkpoints(run.folder).values()):
        yield f"[dim]checkpoint[/dim] {escape(str(saved[-1]))}"
    yield f"[dim]picture[/dim]    {escape(str(run.folder / 'report.png'))}"
    yield f"[dim]report[/dim]     {escape(str(run.folder / 'report.html'))}"
    if where := run.status.get("wandb_dir"):
        yield f"[dim]W&B[/dim]        {escape(sync_command(str(where)))}"


def sync_command(folders: str) -> str:
    """What uploads the W&B folders of a status.json: a line to copy, whatever their names hold."""
    try:
        return shlex.join(["wandb", "sync", *shlex.split(folders)])
    except ValueError:  # an open quote
        return shlex.join(["wandb", "sync", folders])
