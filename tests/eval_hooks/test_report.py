"""The last screen, report.png and report.html, from a run folder alone."""

import io
import json
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console

from eval_hooks.errors import EvalError
from eval_hooks.report import print_screen, write_report
from eval_hooks.report.view import categories, over_checkpoints, read_run
from eval_hooks.report.words import kept, percent, points, surviving
from eval_hooks.summary import summarise_task
from eval_hooks.table import read_table
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
    png, html = write_report(run_folder(tmp_path / "run", skill=-1.0))
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
    for part in (
        "Knowledge kept?",
        "Flips by subject",
        "Which items flipped: pocket",
        "Samples before and after",
        "Calibration",
        "Recipe",
    ):
        assert part in page
    assert "option one" in page and re.search(r"B\. option two <small>\d+ %</small>", page)
    assert Image.open(png).size == (1600, 1500)


def test_a_run_with_a_failed_task_still_has_a_report(tmp_path: Path) -> None:
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
    folder = run_folder(tmp_path / "run")
    shutil.rmtree(folder / "evals" / "step-20")
    write_report(folder)
    assert "no later evaluation" in screen(folder)


def test_a_half_written_line_is_left_out(tmp_path: Path) -> None:
    assert [line["step"] for line in read_run(run_folder(tmp_path / "run")).metrics] == [5, 10, 15, 20]


def test_a_folder_without_an_evaluation_is_named(tmp_path: Path) -> None:
    with pytest.raises(EvalError, match="no evaluation in it yet"):
        write_report(tmp_path)


def test_checkpoints_share_one_level_and_only_what_survives_is_called_lost(tmp_path: Path) -> None:
    """P of .03 twice: Holm makes it 2 x .03 = .06 for both, so neither holds; beside p = 1e-6 it is .03 of 3 looks.

    3 x 1e-6 is real; then 2 x .03 = .06 is not. One look needs no correction and is not spoken of.
    """
    found = {"baseline_step": 0, "gained": 2}
    pair = [(20, {**found, "lost": 10, "mcnemar_p": 0.03}), (40, {**found, "lost": 10, "mcnemar_p": 0.03})]
    deep = (60, {**found, "lost": 60, "mcnemar_p": 1e-6})
    up = (80, {"baseline_step": 0, "gained": 50, "lost": 1, "mcnemar_p": 1e-9})
    summaries = [
        {"step": step, "tasks": {"m": {"role": "retain", "status": "ok", "retention": paired}}}
        for step, paired in (*pair, deep, up)
    ]

    run = read_run(run_folder(tmp_path / "run"))

    def said(*kept: int) -> str:
        return surviving(over_checkpoints(replace(run, summaries=tuple(summaries[i] for i in kept)), "m"))

    assert said(0) == ""
    assert said(0, 1) == "over all 2 checkpoints (Holm): no change is proven at any"
    assert said(0, 1, 2) == "over all 3 checkpoints (Holm): lost at step 60"
    assert said(0, 2, 3) == "over all 3 checkpoints (Holm): lost at step 20, 60; gained at step 80"
    adjusted = over_checkpoints(replace(run, summaries=tuple(summaries[:3])), "m")
    assert [p for _, _, p in adjusted] == pytest.approx([0.06, 0.06, 3e-6])


def test_the_report_shows_holm_and_categories_with_their_intervals(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run", skill=-1.0)
    shutil.copytree(folder / "evals" / "step-20", folder / "evals" / "step-40")
    file = folder / "evals" / "step-40" / "summary.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "step": 40}))
    assert "over all 2 checkpoints (Holm): lost at step 20, 40" in " ".join(screen(folder).replace("│", "").split())
    write_report(folder)
    page = (folder / "report.html").read_text("utf-8")
    for part in (
        "Holm over checkpoints",
        "lost at step 20, 40",
        "Change by category: pocket",
        "no coverage is claimed",
    ):
        assert part in page
    entry = read_run(folder).last["tasks"]["pocket"]
    (row,) = categories(entry)
    assert (row.entry["lost"], row.entry["gained"]) == (entry["retention"]["lost"], entry["retention"]["gained"])
    assert row.change["value"] == pytest.approx(entry["retention"]["delta"]["value"])
    assert 0 <= row.left < row.middle < row.right <= 100 and row.left == pytest.approx(0.0)
    assert categories({**entry, "retention": None}) == []


def test_the_screen_shows_before_and_after_a_temperature(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run", skill=-1.0)
    assert "with temperature" not in screen(folder)
    table, apart = (read_table(folder / "evals" / step / "pocket.parquet") for step in ("step-20", "step-0"))
    file = folder / "evals" / "step-20" / "summary.json"
    summary = json.loads(file.read_text())
    summary["tasks"]["pocket"] = summarise_task(
        table, role="retain", baseline=apart, validation=apart, temperature_split="validation"
    )
    file.write_text(json.dumps(summary))
    text = " ".join(screen(folder).replace("│", "").split())
    assert re.search(
        r"with temperature \d\.\d+ \(.*\), fitted on 120 items of validation: ECE \d\.\d+ -> \d\.\d+, NLL", text
    )
    assert "debiased" in text


def test_numbers_in_words() -> None:
    assert percent({"value": 0.621, "low": 0.58, "high": 0.66}) == "62.1 % (58.0 to 66.0)"
    assert percent({"value": None, "reason": "no items"}) == "not measured (no items)"
    assert points({"value": -0.004, "low": -0.019, "high": 0.012}) == "-0.4 points (-1.9 to +1.2)"
    delta = {"value": -0.12, "low": -0.15, "high": -0.09}
    assert kept({"verdict": "dropped", "delta": delta, "margin": 0.02}) == (
        "dropped: 12.0 points lost, the loss is real (9.0 to 15.0)"
    )
