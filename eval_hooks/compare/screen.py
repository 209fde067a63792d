"""The comparison on the terminal."""

from collections.abc import Mapping
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from eval_hooks.compare.result import Comparison, letter
from eval_hooks.compare.words import asides, calibrations, sentences, warnings
from eval_hooks.report.screen import COLOURS


def show(result: Comparison, console: Console) -> None:
    """Which model is which, the table, and what it says in sentences."""
    for number, model in enumerate(result.models):
        console.print(f"[bold]{letter(number)}[/bold] = {escape(str(model.folder))}", soft_wrap=True, highlight=False)
    for task in result.tasks:
        console.print(_table(result, task))
    for text in sentences(result):
        console.print(f"[yellow]{escape(text)}[/yellow]")
    for text in calibrations(result):
        console.print(escape(text))
    for text in warnings(result):
        console.print(f"[yellow]{escape(text)}[/yellow]")
    for text in asides(result):
        console.print(f"[dim]{escape(text)}[/dim]")


def _table(result: Comparison, task: str) -> Table:
    title = f"{escape(task)}: {result.of(task)[0].n:,} items, paired, 95 % intervals"
    table = Table(title=title, title_justify="left", box=SIMPLE, padding=(0, 1, 0, 0))
    for heading in ("", "accuracy, %", "change against A,\npoints", "lost /\ngained", _p_heading(result), "verdict"):
        table.add_column(heading, no_wrap=True)
    table.add_row("A", share(result.models[0].tasks()[task]["accuracy"]))
    for pair in result.of(task):
        entry, verdict = pair.entry, pair.entry["verdict"]
        table.add_row(
            letter(pair.model),
            share(result.models[pair.model].tasks()[task]["accuracy"]),
            share(entry["delta"], "+"),
            f"{entry['lost']} / {entry['gained']}",
            f"{pair.p_holm:.2g}",
            f"[{COLOURS[verdict]}]{verdict}[/{COLOURS[verdict]}]",
        )
    return table


def _p_heading(result: Comparison) -> str:
    several = len(result.pairs) > 1
    return f"McNemar p,\nHolm of {len(result.pairs)}" if several else "McNemar p"


def share(estimate: Mapping[str, Any], sign: str = "") -> str:
    """62.1 (58.0 to 66.0), in percent; for a change with its sign."""
    value, low, high = (format(100 * estimate[key], f"{sign}.1f") for key in ("value", "low", "high"))
    return f"{value} ({low} to {high})"
