"""The last screen, report.png and report.html, from a run folder alone."""

import io
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console

from eval_hooks.errors import EvalError
from eval_hooks.report import print_screen, write_report
from eval_hooks.report.view import read_run
from eval_hooks.report.words import kept, percent, points
from tests.eval_hooks.runs import NASTY, run_folder


def screen(folder: Path) -> str:
    console = Console(file=io.StringIO(), width=100)
    print_screen(folder, console)
    return console.file.getvalue()


def test_the_screen_answers_the_three_questions(tmp_path: Path) -> None:
    text = screen(run_folder(tmp_path / "run", skill=-1.0))
    assert re.search(r"Target up\? .*sql 0\.0 % .* -> 66\.7 %", text)
    assert re.search(r"Knowledge kept\? +dropped: \d+\.\d points lost, the loss is real", text)
    assert re.search(r"Still calibrated\? +pocket: ECE 0\.\d+ -> 0\.\d+: worse", text)
    assert "held 2.000 (0.900 to 2.100) -> 1.000" in text
    assert "wandb sync w/offline-run-1" in text


def test_a_target_that_is_not_proven_is_yellow(tmp_path: Path) -> None:
    """Two of three right after none: the interval reaches down to 0, so it is no green yes."""
    console = Console(file=io.StringIO(), width=100, force_terminal=True, color_system="standard")
    print_screen(run_folder(tmp_path / "run"), console)
    assert "\x1b[33mnot proven\x1b[0m" in console.file.getvalue()


def test_no_change_is_not_called_a_loss(tmp_path: Path) -> None:
    text = screen(run_folder(tmp_path / "run", skill=2.0))
    assert "dropped" not in text
    assert "no proven change" in text


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_the_page_is_one_file_that_loads_nothing_and_escapes_everything(tmp_path: Path) -> None:
    png, html = write_report(run_folder(tmp_path / "run"))
    page = html.read_text("utf-8")
    tags = Tags()
    tags.feed(page)
    names = {tag for tag, _ in tags.found}
    assert not names & {"script", "link", "iframe", "object"}
    sources = [a["src"] or "" for tag, a in tags.found if tag == "img"]
    assert len(sources) == 2 and all(source.startswith("data:image/png;base64,") for source in sources)
    assert "url(" not in page and "@import" not in page
    assert NASTY not in page and "&lt;script&gt;" in page
    assert "prefers-color-scheme: dark" in page and "@media print" in page
    for part in ("Knowledge kept?", "Flips by subject", "Samples before and after", "Calibration", "Recipe"):
        assert part in page
    assert Image.open(png).size == (1600, 1500)


def test_a_run_with_a_failed_task_still_has_a_report(tmp_path: Path) -> None:
    import json

    folder = run_folder(tmp_path / "run")
    file = folder / "evals" / "step-20" / "summary.json"
    summary = json.loads(file.read_text())
    summary["tasks"]["pocket"] = {
        "role": "retain", "status": "failed", "error": "RuntimeError: <b> [/odd]", "n": 0, "accuracy": None, "retention": None
    }  # fmt: skip
    file.write_text(json.dumps(summary))
    write_report(folder)
    page = (folder / "report.html").read_text()
    assert "evaluation failed" in page and "RuntimeError: &lt;b&gt; [/odd]" in page
    assert "RuntimeError: <b> [/odd]" in screen(folder)


def test_a_run_measured_once_has_a_report(tmp_path: Path) -> None:
    import shutil

    folder = run_folder(tmp_path / "run")
    shutil.rmtree(folder / "evals" / "step-20")
    write_report(folder)
    assert "no later evaluation" in screen(folder)


def test_a_half_written_line_is_left_out(tmp_path: Path) -> None:
    assert [line["step"] for line in read_run(run_folder(tmp_path / "run")).metrics] == [5, 10, 15, 20]


def test_a_curve_is_in_order_of_step_and_goes_on_behind_a_broken_line(tmp_path: Path) -> None:
    """A watcher measures step 7 after step 20 was logged, and behind a line that a killed writer left."""
    folder = run_folder(tmp_path / "run")
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('\n{"step": 7, "train/loss": 2.3}\n')
    assert [step for step, _ in read_run(folder).curve("train/loss")] == [5, 7, 10, 15, 20]


def test_a_folder_without_an_evaluation_is_named(tmp_path: Path) -> None:
    with pytest.raises(EvalError, match="no evaluation in it yet"):
        write_report(tmp_path)


def test_numbers_in_words() -> None:
    assert percent({"value": 0.621, "low": 0.58, "high": 0.66}) == "62.1 % (58.0 to 66.0)"
    assert percent({"value": None, "reason": "no items"}) == "not measured (no items)"
    assert points({"value": -0.004, "low": -0.019, "high": 0.012}) == "-0.4 points (-1.9 to +1.2)"
    delta = {"value": -0.12, "low": -0.15, "high": -0.09}
    assert kept({"verdict": "dropped", "delta": delta, "margin": 0.02}) == (
        "dropped: 12.0 points lost, the loss is real (9.0 to 15.0)"
    )
