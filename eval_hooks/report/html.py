"""report.html: one file, nothing loaded from elsewhere, for the screen in light or dark, and for paper."""

import base64
from pathlib import Path

from eval_hooks.files import write_atomic
from eval_hooks.report import words
from eval_hooks.report.view import RunView


def write_html(run: RunView, path: Path) -> None:
    """Render the page; every text from a model or a recipe is escaped.

    The picture beside it (report.png) is carried inside.
    """
    from jinja2 import Environment, FileSystemLoader

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    image = path.with_name("report.png")
    page = environment.get_template("report.html.j2").render(
        run=run,
        words=words,
        picture=base64.b64encode(image.read_bytes()).decode() if image.is_file() else None,
        samples=list(_samples(run)),
        flips={
            name: _flips(task)
            for name, task in run.last["tasks"].items()
            if task.get("by_subject") and task.get("retention")
        },
    )
    write_atomic(path, page.encode())


def _samples(run: RunView) -> list[tuple[dict, dict]]:
    """(before, after) of the same prompts."""
    pairs = []
    for name, task in run.last["tasks"].items():
        before = {s["item_id"]: s for s in run.first["tasks"].get(name, {}).get("samples") or []}
        pairs += [(before[s["item_id"]], s) for s in task.get("samples") or [] if s["item_id"] in before]
    return pairs


def _flips(task: dict) -> list[tuple[str, dict]]:
    """Subjects with flips, those that lost most on balance first."""
    changed = [(name, entry) for name, entry in task["by_subject"].items() if entry["lost"] or entry["gained"]]
    return sorted(changed, key=lambda item: (item[1]["gained"] - item[1]["lost"], item[0]))
