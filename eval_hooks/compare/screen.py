"""The comparison on the terminal."""

from collections.abc import Mapping
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from eval_hooks.compare.decision import Decision
from eval_hooks.compare.result import Comparison, letter
from eval_hooks.compare.words import asides, calibrations, flips, sentences, warnings
from eval_hooks.report.screen import COLOURS
from eval_hooks.report.words import counts
from eval_hooks.results.text import ends, said_in_unit


def show(result: Comparison, console: Console) -> None:
    """Which model is which, the table, and what it says in sentences."""
    for number, model in enumerate(result.models):
        console.print(f"[bold]{letter(number)}[/bold] = {escape(str(model.folder))}", soft_wrap=True, highlight=False)
    for task in result.tasks:
        console.print(_table(result, task))
    for text in sentences(result):
        console.print(f"[yellow]{escape(text)}[/yellow]")
    for text in (*flips(result), *calibrations(result)):
        console.print(escape(text))
    for text in warnings(result):
        console.print(f"[yellow]{escape(text)}[/yellow]")
    for text in asides(result):
        console.print(f"[dim]{escape(text)}[/dim]")


def show_decision(decision: Decision, console: Console) -> None:
    """Whether it failed, and on what."""
    words = " or ".join(decision.fail_on)
    if not decision.reasons:
        console.print(f"[green]passed: nothing is {words}, and every task of A's is compared[/green]")
    for reason in decision.reasons:
        console.print(f"[red]failed: {escape(reason)}[/red]")


def _table(result: Comparison, task: str) -> Table:
    """The word's interval; of several pairs, each one's alone beside it and accuracies bare, to fit 80 columns."""
    several = len(result.pairs) > 1
    title = f"{escape(task)}: {result.of(task)[0].n:,} items, paired, 95 % intervals"
    table = Table(title=title, title_justify="left", box=SIMPLE, padding=(0, 1, 0, 0))
    together = f",\n{len(result.pairs)} together" if several else ""
    over = f"change against A,\npoints{together}"
    alone = ("one alone,\n95 %",) if several else ()
    times = f" x {len(result.pairs)}" if several else ""
    unit = next((pair.entry["unit"] for pair in result.of(task) if pair.entry.get("unit")), None)
    over = over.replace("points", unit) if unit else over
    for heading in ("", unit or "acc.\n%", over, *alone, "lost/\ngained/\nother", f"exact\np{times}", "verdict"):
        table.add_column(heading, no_wrap=True)
    table.add_row("A", _accuracy(result, 0, task, several))
    for pair in result.of(task):
        entry, verdict = pair.entry, pair.entry["verdict"]
        table.add_row(
            letter(pair.model),
            _accuracy(result, pair.model, task, several),
            share(pair.together, "+"),
            *([ends(pair.alone)] if several else []),
            counts(entry).replace(" / ", "/"),
            f"{pair.p:.1g}",
            f"[{COLOURS[verdict]}]{verdict}[/{COLOURS[verdict]}]",
        )
    return table


def _accuracy(result: Comparison, model: int, task: str, bare: bool) -> str:
    entry = result.models[model].tasks()[task]
    found = {**entry["score"], "unit": entry["unit"]} if entry.get("score") else entry["accuracy"]
    return said_in_unit(found["value"], found) if bare else share(found)


def share(estimate: Mapping[str, Any], sign: str = "") -> str:
    """62.1 (58.0 to 66.0), in percent, or in the estimate's unit; for a change with its sign."""
    if estimate["low"] is None:
        return said_in_unit(estimate["value"], estimate, sign)
    value, low, high = (said_in_unit(estimate[key], estimate, sign) for key in ("value", "low", "high"))
    return f"{value} ({low} to {high})"
