"""A certificate as a table, and the numbers it adds to its run."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from eval_hooks.certificate import FILE, numbers
from eval_hooks.report.words import certified, over_run
from eval_hooks.results.text import points
from eval_hooks.track import Tracker
from eval_hooks.visible import terminal
from trainers.certify import certify, exported_is_whole
from trainers.recipe import Recipe
from trainers.rundir import Place

MEANS = {"trainer": "in the trainer", "files": "files", "tokenizer": "tokenizer", "reloaded": "reloaded",
         "merged": "merged"}  # fmt: skip


OVER = "changes at 95 % over all forms that are judged by theirs"


def certify_and_show(recipe: Recipe, place: Place, step: int, bits: Sequence[int]) -> bool:
    """Certify a checkpoint, add the numbers to its run's metrics.jsonl, print the table; return whether it passed."""
    made = certify(recipe, place, step, bits=bits)
    folder = place.folder / "checkpoints" / f"checkpoint-{step}"
    Tracker(place.root, offset=place.offset).log(step, numbers(made))
    console = terminal()
    console.print(table(made))
    console.print(escape(certified(made)), style="green" if made["passed"] else "red", soft_wrap=True)
    kept = "unchanged: delete it to certify the files as they are now" if stands(made) else "written"
    console.print(f"[dim]{escape(str(folder / FILE))} {kept}[/dim]", soft_wrap=True, highlight=False)
    return bool(made["passed"])


def check_exported(folder: Path) -> bool:
    """Whether an exported folder is as it was written; what is not is printed."""
    different = exported_is_whole(folder)
    said = f"failed: {'; '.join(different)}" if different else "passed: all files are as they were exported"
    terminal().print(escape(said), style="red" if different else "green", soft_wrap=True)
    return not different


def stands(made: Mapping[str, Any]) -> bool:
    """Whether an older certificate, of other files, was left in place."""
    return any(row["form"] == "files" and not row["passed"] for row in made["rows"])


def table(made: Mapping[str, Any]) -> Table:
    """One row a form: how far it is from the trainer's numbers, and what it lost against the start."""
    title = escape(f"step {made['step']}: {len(made['items'])} items of {made['task']}, {made['arithmetic']}; {OVER}")
    grid = Table(title=title, title_justify="left")
    for heading in ("form", "log-prob, largest difference", "flips", "change against the start", "may be", "result"):
        grid.add_column(heading, overflow="fold")
    for row in made["rows"]:
        result = "[green]pass[/]" if row["passed"] else f"[red]fail[/] {escape(row['reason'])}"
        grid.add_row(form(row), *measured(row), _allowed(row), result)
    return grid


def form(row: Mapping[str, Any]) -> str:
    """A form in words."""
    said = MEANS.get(row["form"]) or row["form"].replace("bit", "-bit weights")
    return f"{said} ({100 * row['share']:.0f} % of them)" if "share" in row else said


def measured(row: Mapping[str, Any]) -> tuple[str, str, str]:
    """How far a form is from the trainer's numbers, answers that changed, and its change against the start."""
    change = row.get("retention")
    kept = f"{points(over_run(change))}: {change['verdict']}" if change else ""
    if "largest" not in row:
        return "", "", kept
    return f"{row['largest']:.3g} nats", str(row["flips"]), kept


def _allowed(row: Mapping[str, Any]) -> str:
    if "tolerance" not in row:
        return ""
    return "no proven loss" if row["tolerance"] is None else f"{row['tolerance']:g} nats"
