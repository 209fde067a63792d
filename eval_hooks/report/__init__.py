"""What a run folder says, for people: the last screen, report.png, report.html; from the folder alone."""

from pathlib import Path
from typing import Any


def write_report(folder: Path) -> list[Path]:
    """Write report.png and report.html; return their paths. Raises EvalError for a folder that is no run."""
    from eval_hooks.report.html import write_html
    from eval_hooks.report.png import write_png
    from eval_hooks.report.view import read_run

    run = read_run(Path(folder))
    png, html = Path(folder) / "report.png", Path(folder) / "report.html"
    write_png(run, png)
    write_html(run, html)
    return [png, html]


def print_screen(folder: Path, console: Any = None) -> None:
    """Show the three answers on the terminal."""
    from eval_hooks.report.screen import print_screen as show

    show(Path(folder), console)
