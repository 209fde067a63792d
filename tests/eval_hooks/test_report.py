"""The last screen, report.png and report.html, from a run folder alone."""

import io
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from rich.console import Console

from eval_hooks.errors import EvalError
from eval_hooks.report import print_screen, write_report
from eval_hooks.report.html import write_html
from eval_hooks.report.view import categories, left_out, read_run
from eval_hooks.report.words import adjusted, changed, counts, flipped, headline, kept, run_said
from eval_hooks.results.text import percent, points
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


def test_a_curve_is_in_order_of_step_and_goes_on_behind_a_broken_line(tmp_path: Path) -> None:
    """A watcher measures step 7 after step 20 was logged, and behind a line that a killed writer left."""
    folder = run_folder(tmp_path / "run")
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('\n{"step": 7, "train/loss": 2.3}\n')
    assert [step for step, _ in read_run(folder).curve("train/loss")] == [5, 7, 10, 15, 20]


def test_a_folder_without_an_evaluation_is_named(tmp_path: Path) -> None:
    with pytest.raises(EvalError, match="no evaluation in it yet"):
        write_report(tmp_path)


RUN = {"level": 0.95, "looks": 10, "alpha": 0.0025}


def entry(verdict: str, low: float, high: float, **run: Any) -> dict[str, Any]:
    """A retention entry: -4 points (-6 to -2) at this look alone, and these bounds over the run."""
    delta = {"value": -0.04, "low": -0.06, "high": -0.02}
    return {"delta": delta, "delta_run": {**RUN, "low": low, "high": high, **run}, "verdict": verdict, "margin": 0.02}


@pytest.mark.parametrize(
    ("retention", "said"),
    [(entry("dropped", -0.07, -0.01), "dropped: 4.0 points lost, at least 1.0 over all 10 looks of the run"),
     (entry("undecided", -0.09, 0.01), "undecided: between -9.0 and +1.0 points over all 10 looks of the run; up to 2.0 lost would be allowed"),
     (entry("kept", -0.015, 0.01, looks=None), "kept: at most 1.5 points lost over all looks of the run, 2.0 are allowed"),
     (entry("gained", 0.01, 0.08, looks=1), "gained: -4.0 points, at least 1.0 over all tasks of the run"),
     (entry("undecided", -1.0, 1.0, alpha=0.0), "undecided: all that the run may claim is spent on earlier looks")],
)  # fmt: skip
def test_the_word_speaks_of_the_run_and_the_look_stands_beside_it(retention: dict[str, Any], said: str) -> None:
    assert headline(retention) == said
    assert kept(retention) == f"{said} (this look alone, 95 %: -6.0 to -2.0)"
    assert "; this look alone, 95 %: -6.0 to -2.0)" in changed(retention)


def test_one_look_at_one_task_and_a_folder_of_before_have_one_interval() -> None:
    alone = entry("dropped", -0.06, -0.02, looks=1, alpha=0.05)
    before = {key: value for key, value in alone.items() if key != "delta_run"}
    for retention in (alone, before):
        assert kept(retention) == "dropped: 4.0 points lost, the loss is real (2.0 to 6.0)"
        assert changed(retention) == "-4.0 points (-6.0 to -2.0)"


def test_what_a_run_said_is_listed_and_never_contradicts_the_headline() -> None:
    """One evaluation is not spoken of; a folder of before says that each look stands alone."""
    changes = [
        (30, entry("kept", -0.015, 0.01)),
        (60, entry("dropped", -0.07, -0.01)),
        (90, entry("dropped", -0.07, -0.01)),
    ]
    assert run_said(changes[:1], 2) == ""
    assert run_said(changes, 2) == "over the run (10 looks, 2 tasks): dropped at steps 60, 90; kept at step 30"
    old = [(step, {key: value for key, value in one.items() if key != "delta_run"}) for step, one in changes]
    assert run_said(old, 1) == "each look alone, 95 %: dropped at steps 60, 90; kept at step 30"
    unknown = [(step, {**one, "delta_run": {**one["delta_run"], "looks": None}}) for step, one in changes]
    assert run_said(unknown, 1).startswith("over the run (number of looks unknown, 1 task): ")


def test_what_flipped_in_words() -> None:
    share = {"value": 0.07, "low": 0.03, "high": 0.14, "n": 100}
    retention = {"lost": 12, "gained": 3, "mcnemar_p": 0.035, "churn": share, "noise_flips": 2, "noise_most": 9,
                 "forgetting": share, "backward_transfer": {"value": None, "reason": "no options"}}  # fmt: skip
    assert flipped(retention) == (
        "lost 12, gained 3, otherwise wrong 7, McNemar p = 0.035 (noise of the arithmetic: 2 items differ when the base "
        "is scored twice, up to 9 may)"
    )
    assert counts(retention) == "12 / 3 / 7" and counts({"lost": 1, "gained": 0}) == "1 / 0 / -"
    assert adjusted(retention) == "beyond guessing: forgotten 7.0 % (3.0 to 14.0)" and adjusted({}) == ""
    assert flipped({"lost": 1, "gained": 0, "mcnemar_p": 1.0}) == "lost 1, gained 0, McNemar p = 1"


def test_the_report_shows_the_run_and_categories_with_their_intervals(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run", skill=0.5)
    shutil.copytree(folder / "evals" / "step-20", folder / "evals" / "step-40")
    for step in (20, 40):
        file = folder / "evals" / f"step-{step}" / "summary.json"
        summary = {**json.loads(file.read_text()), "step": step}
        run = summary["tasks"]["pocket"]["retention"]["delta_run"]
        run |= {"looks": 2, "alpha": 0.025, "low": run["low"] - 0.01, "high": run["high"] + 0.01}
        file.write_text(json.dumps(summary))
    said = "over the run (2 looks, 1 task): dropped at steps 20, 40"
    assert said in " ".join(screen(folder).replace("│", "").split())
    write_report(folder)
    page = (folder / "report.html").read_text("utf-8")
    for part in (
        "over all looks of the run",
        "this look alone, 95 %",
        said,
        "beyond guessing: forgotten",
        "otherwise wrong",
        "Change by category: pocket",
        "no coverage is claimed",
    ):
        assert part in page
    assert "Holm over checkpoints" not in page
    found = read_run(folder).last["tasks"]["pocket"]
    (row,) = categories(found)
    assert (row.entry["lost"], row.entry["gained"]) == (found["retention"]["lost"], found["retention"]["gained"])
    assert row.change["value"] == pytest.approx(found["retention"]["delta"]["value"])
    assert 0 <= row.left < row.middle < row.right <= 100 and row.left == pytest.approx(0.0)
    assert categories({**found, "retention": None}) == []


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


def test_an_evaluation_in_waves_and_the_budget_are_on_screen_and_page(tmp_path: Path) -> None:
    """A part's entry has no McNemar p, no subjects, no diagram; what the budget did is there with its evidence."""
    from tests.eval_hooks.test_waves import noisy, part_of

    run = run_folder(tmp_path / "run")
    before = read_table(run / "evals/step-0/pocket.parquet")
    entry, drawn = part_of(before, noisy(before, 0.1), allowed=0.3)
    file = run / "evals/step-20/summary.json"
    summary = json.loads(file.read_text())
    summary["tasks"]["pocket"] = {**summary["tasks"]["pocket"], **entry}
    file.write_text(json.dumps(summary))
    lines = [line for line in (run / "metrics.jsonl").read_text().splitlines() if line.endswith("}")]
    reason = {"step": 20, "budget/crossed": 1.0, "budget/reason": f"pocket fell {NASTY}", "budget/action": "lr"}
    (run / "metrics.jsonl").write_text("\n".join([*lines, json.dumps(reason)]) + "\n")
    shown = " ".join(screen(run).split())
    assert f"n = {len(drawn.items)} of 120" in shown and "excluded" in shown and "step 20: lr: pocket fell" in shown
    write_report(run)
    page = (run / "report.html").read_text()
    assert f"n = {len(drawn.items)} of 120" in page and "<td>lr</td>" in page and NASTY not in page
    assert (run / "report.png").stat().st_size


def test_the_report_says_which_rows_were_left_out(tmp_path: Path) -> None:
    """Of a run and of a pipeline's runs; a manifest of before has no places."""
    run = run_folder(tmp_path / "run")
    entry = {
        "read": 9,
        "dropped": {f"text is {NASTY}": 2},
        "bad_rows": {f"text is {NASTY}": ["a.jsonl:3", "a.jsonl:7"]},
    }
    old = {"read": 5, "dropped": {"no trained token": 1}}
    (run / "data.manifest.json").write_text(json.dumps({"train": {"chats": entry}, "validation": {"held": old}}))
    (run / "stages" / "learn").mkdir(parents=True)
    (run / "stages" / "learn" / "data.manifest.json").write_text(json.dumps({"train": {"old": old}, "validation": {}}))
    assert left_out(read_run(run)) == [
        ("train chats", f"text is {NASTY}", 2, ["a.jsonl:3", "a.jsonl:7"]),
        ("validation held", "no trained token", 1, []),
        ("learn: train old", "no trained token", 1, []),
    ]
    write_html(read_run(run), tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "2 of 9" in page and "a.jsonl:3, a.jsonl:7" in page and "learn: train old" in page and NASTY not in page


def test_the_page_never_scrolls_sideways(tmp_path: Path) -> None:
    """Tables scroll in a box, words break where they must, bars have a longest, only numbers stand on one line.

    Rendered by a browser at 1280 and 400 pixels, the page is then as wide as its window.
    """
    folder = run_folder(tmp_path / "run", skill=-1.0)
    file = folder / "evals" / "step-20" / "summary.json"
    summary = json.loads(file.read_text())
    reason = "no temperature_split is named " + "x" * 300
    summary["tasks"]["pocket"]["calibration"]["auroc"].update(value=None, reason=reason)
    summary["tasks"]["pocket"]["by_subject"]["s0"].update(lost=600, gained=300)
    file.write_text(json.dumps(summary))
    write_report(folder)
    page = (folder / "report.html").read_text()
    assert page.count("<table>") == page.count('<div class="wide"><table>') == page.count("</table></div>") > 4
    assert ".wide { overflow-x: auto; }" in page and "overflow-wrap: anywhere;" in page
    assert f"<td>not measured ({reason})</td>" in page and '<td class="n">63.3 % (54.4 to 71.4)</td>' in page
    assert page.count("&lt;td") == 0
    widths = [float(width) for width in re.findall(r'class="bar \w+" style="width: ([\d.]+)rem', page)]
    assert max(widths) == 12 and 6 in widths  # 600 lost, 300 gained


def test_no_secret_is_in_what_a_macro_made(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run", skill=-1.0)
    file = folder / "evals" / "step-20" / "summary.json"
    summary = json.loads(file.read_text())
    token = "hf_" + "A1b2C3d4" * 4
    summary["tasks"]["pocket"]["calibration"]["auroc"].update(value=None, reason=f"<b> {token}")
    file.write_text(json.dumps(summary))
    write_report(folder)
    page = (folder / "report.html").read_text()
    assert "not measured (&lt;b&gt; " in page and token not in page
