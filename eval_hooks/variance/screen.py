"""The spread over seeds on the terminal."""

from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from eval_hooks.variance import Variance
from eval_hooks.variance.spread import Spread
from eval_hooks.variance.words import about_items, doubts, sentences, shown


def show(result: Variance, console: Console) -> None:
    """A table a task, then what it says."""
    steps = ", ".join(map(str, result.steps))
    console.print(f"{len(result.runs)} runs at steps {steps}: {escape(', '.join(result.runs))}", highlight=False)
    for task in result.tasks:
        console.print(_table(result, task))
    console.print("[dim]signal / noise: (mean - guessing) / sigma; *: mean / sigma, guessing is not known[/dim]")
    for text in sentences(result):
        console.print(escape(text))
    for text in about_items(result):
        console.print(f"[dim]{escape(text)}[/dim]")
    for text in doubts(result):
        console.print(f"[yellow]{escape(text)}[/yellow]")


def _table(result: Variance, task: str) -> Table:
    of = result.of(task)
    title = f"{escape(task)}: {of[0].n:,} items, spread over {len(result.runs)} runs at step {result.steps[-1]}"
    table = Table(title=title, title_justify="left", box=SIMPLE, show_edge=False, padding=(0, 1, 0, 0))
    headings = (
        "",
        "mean",
        "sigma, 95 %",
        "items'\n+-",
        "5 % of pairs\ndiffer by over",
        "signal\n/ noise",
        "mono-\ntone",
    )
    for heading in headings:
        table.add_column(heading, no_wrap=True, min_width=max(map(len, heading.split("\n"))))
    for one in of:
        table.add_row(
            escape(one.metric),
            shown(one, one.mu),
            _sigma(one),
            shown(one, one.half_width),
            shown(one, one.smallest),
            _signal(one),
            "-" if one.monotonicity.value is None else f"{one.monotonicity.value:+.2f}",
        )
    return table


def _sigma(one: Spread) -> str:
    if one.sigma.low is None:
        return shown(one, one.sigma.value)
    return f"{shown(one, one.sigma.value)} ({shown(one, one.sigma.low)}-{shown(one, one.sigma.high)})"


def _signal(one: Spread) -> str:
    """Above guessing where that is known."""
    estimate = one.snr if one.chance is None else one.snr_above_chance
    return "-" if estimate.value is None else f"{estimate.value:.1f}{'*' if one.chance is None else ''}"
