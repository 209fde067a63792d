"""report.html: one file, nothing loaded from elsewhere, for the screen in light or dark, and for paper."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from eval_hooks.files import write_atomic
from eval_hooks.report import words
from eval_hooks.report.about import about_png
from eval_hooks.report.page import inside, render
from eval_hooks.report.view import RunView, categories, flips, left_out, paired_changes, retained, samples, stage_table
from eval_hooks.results import text
from eval_hooks.tasks.kinds import kind_of_entry


def write_html(run: RunView, path: Path) -> None:
    """Render the page; every text from a model or a recipe is escaped.

    The picture beside it (report.png) is carried inside.
    """
    image = path.with_name("report.png")
    about = about_png(run)
    page = render(
        "report.html.j2",
        run=run,
        words=words,
        text=text,
        shown=lambda after, before: kind_of_entry(after).show(before, after),
        held_out=_held_out,
        picture=inside(image.read_bytes()) if image.is_file() else None,
        samples=samples(run),
        left_out=left_out(run),
        stages=stage_table(run),
        about=inside(about) if about else None,
        run_said={name: words.run_said(paired_changes(run, name), retained(run)) for name in run.last["tasks"]},
        categories={name: found for name, task in run.last["tasks"].items() if (found := categories(task))},
        flips={
            name: flips(task)
            for name, task in run.last["tasks"].items()
            if task.get("by_subject") and task.get("retention")
        },
    )
    write_atomic(path, page)


def _held_out(name: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[str, str]:
    said = kind_of_entry(after).held_out
    return said(name, before, after) if said else (name, "")
