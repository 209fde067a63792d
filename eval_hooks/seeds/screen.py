"""A comparison over seeds on the terminal."""

from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from eval_hooks.seeds.result import SeedComparison, TaskResult
from eval_hooks.seeds.words import asides, sentences, warnings

COLOURS = {"A is better": "green", "B is better": "red", "no difference": "green", "undecided": "yellow"}


def show(result: SeedComparison, console: Console) -> None:
    """Which runs are which, the table, and what it says in sentences."""
    for name, group in (("A", result.groups.a), ("B", result.groups.b)):
        folders = ", ".join(str(one.folder) for one in group)
        console.print(f"[bold]{name}[/bold] = {escape(folders)}", soft_wrap=True, highlight=False)
    console.print(_table(result))
    for one, text in zip(result.tasks, sentences(result), strict=True):
        console.print(f"[{COLOURS[one.verdict]}]{escape(text)}[/{COLOURS[one.verdict]}]", highlight=False)
    for text in warnings(result):
        console.print(f"[yellow]{escape(text)}[/yellow]")
    for text in asides(result):
        console.print(f"[dim]{escape(text)}[/dim]")


def _table(result: SeedComparison) -> Table:
    level = 100 * result.tasks[0].adjusted.level
    table = Table(title=f"A less B over seeds and items, {level:.4g} % intervals", title_justify="left", box=SIMPLE,
                  show_edge=False, padding=(0, 1, 0, 0))  # fmt: skip
    headings = (
        "",
        "items",
        f"A, %\n{len(result.groups.a)} runs",
        f"B, %\n{len(result.groups.b)} runs",
        "A - B,\npoints",
    )
    for heading in headings:
        table.add_column(heading, no_wrap=True)
    for heading in ("by seeds\nalone", "verdict"):
        table.add_column(heading, no_wrap=True)
    for one in result.tasks:
        table.add_row(*_row(one))
    return table


def _row(one: TaskResult) -> tuple[str, ...]:
    d, colour = one.difference, COLOURS[one.verdict]
    value = 100 * (d.value or 0.0)
    return (
        escape(one.task),
        f"{d.n:,}",
        *(f"{100 * mean:.1f}" for mean in one.means),
        f"{value:+.1f} ({100 * one.adjusted.low:+.1f} to {100 * one.adjusted.high:+.1f})",
        f"+-{100 * one.seeds_half_width:.1f}",
        f"[{colour}]{one.verdict}[/{colour}]",
    )
