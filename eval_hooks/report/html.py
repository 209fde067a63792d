"""report.html: one file, nothing loaded from elsewhere, for the screen in light or dark, and for paper."""

import base64
from pathlib import Path

from eval_hooks.files import write_atomic
from eval_hooks.report import words
from eval_hooks.report.about import about_png
from eval_hooks.report.view import RunView, categories, flips, over_checkpoints, samples, stage_table


def write_html(run: RunView, path: Path) -> None:
    """Render the page; every text from a model or a recipe is escaped.

    The picture beside it (report.png) is carried inside.
    """
    from jinja2 import Environment, FileSystemLoader

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    image = path.with_name("report.png")
    about = about_png(run)
    looks = {name: over_checkpoints(run, name) for name in run.last["tasks"]}
    page = environment.get_template("report.html.j2").render(
        run=run,
        words=words,
        picture=base64.b64encode(image.read_bytes()).decode() if image.is_file() else None,
        samples=samples(run),
        stages=stage_table(run),
        about=base64.b64encode(about).decode() if about else None,
        looks={name: {step: p for step, _, p in found} for name, found in looks.items()},
        surviving={name: words.surviving(found) for name, found in looks.items()},
        categories={name: found for name, task in run.last["tasks"].items() if (found := categories(task))},
        flips={
            name: flips(task)
            for name, task in run.last["tasks"].items()
            if task.get("by_subject") and task.get("retention")
        },
    )
    write_atomic(path, page.encode())
