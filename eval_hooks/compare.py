"""Two evaluations, item by item: the same questions asked of both, or no comparison."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from eval_hooks.calibration.numbers import ece_rise
from eval_hooks.config import MARGIN
from eval_hooks.errors import EvalError
from eval_hooks.report.words import calibrated, percent, points
from eval_hooks.retention import retention
from eval_hooks.table import chance, kind_of, read_table


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """A folder with summary.json and one table a task."""

    folder: Path
    summary: Mapping[str, Any]

    def tasks(self) -> dict[str, Mapping[str, Any]]:
        """The tasks that were measured."""
        return {name: task for name, task in self.summary["tasks"].items() if task["status"] == "ok"}


def find(name: str) -> Evaluation:
    """The evaluation meant by RUN_DIR (its newest), RUN_DIR:STEP or an evaluation folder.

    Raises EvalError where there is none, naming the steps there are.
    """
    run, _, step = name.rpartition(":")
    root, wanted = (Path(run), step) if run and step.isdigit() else (Path(name), None)
    if wanted is None and (root / "summary.json").is_file():
        return _read(root)
    steps = sorted(int(file.parent.name.removeprefix("step-")) for file in root.glob("evals/step-*/summary.json"))
    if not steps:
        raise EvalError(f"{name}: no evaluation there; name a run folder, RUN_DIR:STEP, or a folder with summary.json")
    if wanted is not None and int(wanted) not in steps:
        raise EvalError(f"{name}: no evaluation at step {wanted}; there are: {', '.join(map(str, steps))}")
    return _read(root / "evals" / f"step-{wanted or steps[-1]}")


def _read(folder: Path) -> Evaluation:
    return Evaluation(folder=folder, summary=json.loads((folder / "summary.json").read_text("utf-8")))


def compare(a: str, b: str, console: Console | None = None) -> dict[str, dict[str, Any]]:
    """Print how B differs from A on every task both were measured on; return the paired entries by task.

    Each entry is that of `retention` in a summary, with A as the base. Raises EvalError where A and B share no task, or
    a task was asked with other prompts.
    """
    before, after = find(a), find(b)
    shared = [name for name in before.tasks() if name in after.tasks()]
    if not shared:
        raise EvalError(
            f"{a} and {b} share no task: {sorted(before.tasks())} against {sorted(after.tasks())}; evaluate both on one"
        )
    entries = {name: _pair(name, before, after) for name in shared}
    _show(console or Console(), before, after, entries)
    return entries


def _pair(name: str, before: Evaluation, after: Evaluation) -> dict[str, Any]:
    hashes = [side.tasks()[name]["prompt_hash"] for side in (before, after)]
    if hashes[0] != hashes[1]:
        raise EvalError(
            f"{name}: asked with other prompts (hash {hashes[0]} in {before.folder}, {hashes[1]} in {after.folder}); "
            "evaluate both in the same variant, shots and template"
        )
    tables = [read_table(side.folder / f"{name}.parquet") for side in (before, after)]
    margin = (after.tasks()[name].get("retention") or {}).get("margin", MARGIN)
    entry = retention(tables[0], tables[1], margin, chance(tables[0]), int(before.summary["step"]))
    if kind_of(tables[0]) == "choice":
        entry["ece_rise"] = ece_rise(tables[0], tables[1]).as_dict()
    return entry


def _show(console: Console, before: Evaluation, after: Evaluation, entries: Mapping[str, Mapping[str, Any]]) -> None:
    table = Table(title=f"A = {before.folder}\nB = {after.folder}", title_justify="left")
    for heading in ("task", "A", "B", "B - A, paired", "lost / gained", "McNemar p", "verdict"):
        table.add_column(heading)
    for name, entry in entries.items():
        table.add_row(
            name,
            percent(before.tasks()[name]["accuracy"]),
            percent(after.tasks()[name]["accuracy"]),
            points(entry["delta"]),
            f"{entry['lost']} / {entry['gained']}",
            f"{entry['mcnemar_p']:.3g}",
            entry["verdict"],
        )
    console.print(table)
    for name, entry in entries.items():
        if "ece_rise" in entry:
            ece = [side.tasks()[name]["calibration"]["ece"] for side in (before, after)]
            console.print(f"{name}: {calibrated(ece[0], ece[1], entry['ece_rise'])}")
    precisions = [side.summary.get("precision") for side in (before, after)]
    if precisions[0] != precisions[1]:
        console.print(f"[yellow]scored in different arithmetic: A {precisions[0]}, B {precisions[1]}[/yellow]")
    alone = sorted(set(before.tasks()) ^ set(after.tasks()))
    if alone:
        console.print(f"[dim]not in both, so not compared: {', '.join(alone)}[/dim]")
