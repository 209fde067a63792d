"""What other people wrote is shown and not obeyed, on the screen, in pictures, pages and trackers; and ends no run."""

import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from rich.text import Text
from typer.testing import CliRunner

import trainers
from eval_hooks.compare import compare
from eval_hooks.report import print_screen, write_report
from eval_hooks.sinks import TensorBoard
from eval_hooks.track import Tracker, show_summary
from eval_hooks.variance import variance
from eval_hooks.visible import in_markdown, in_picture, terminal, visible
from launch import RecipeError
from launch.cli import app
from launch.findings import bad, print_findings
from tests.eval_hooks.runs import run_folder
from trainers import announce
from trainers.rundir import read_status, set_status
from trainers.screen import attempt, note_measured, show_end
from trainers.show_data import shown

CONTROLS = ["\x1b[2J", "\x1b]52;c;aGk=\x07", "\x1b]8;;http://evil\x1b\\", "\x9b2J", "\x07", "\x08\x08", "a\rb", "\u202eabc",
            "\u2066x", "\u2028", "\ud800", "\x00", "\x85", "\x7f"]  # fmt: skip
MARKUP = ["[/b]", "[/]", "[bold red]", "[link=http://evil]x[/link]", "\\[/b]", "[", "]", "a\\", "[/b]\\"]
MATHS = ["$^$", "$", "$$", r"\$^$", r"$\frac{$", "_hidden", "^_{", "$a$ $^$"]
NASTY = [*CONTROLS, *MARKUP, *MATHS, "<script>alert(1)</script>", "{{ 7 * 7 }}", "new\nline"]
OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def screen(width: int = 200, encoding: str = "utf-8") -> tuple[Any, Callable[[], str]]:
    """A terminal without colours and what was written to it."""
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding, write_through=True)
    return terminal(file=stream, width=width), lambda: raw.getvalue().decode(encoding)


@pytest.mark.parametrize("text", NASTY)
def test_nothing_that_a_terminal_obeys_is_left(text: str) -> None:
    assert not OBEYED.search(visible(text)) and visible("a\tb\nnaïve 名前 😀") == "a\tb\nnaïve 名前 😀"
    assert visible("naïve\x1b", "ascii") == "na\\xefve\\x1b"
    console, written = screen()
    console.print(Text(text))
    console.print(text, markup=False)
    console.rule(Text(text))
    assert not OBEYED.search(written())


def test_our_own_colours_work_and_only_they() -> None:
    raw = io.StringIO()
    console = terminal(file=raw, force_terminal=True, color_system="standard", width=80)
    console.print("[green]kept[/green]", Text("\x1b[31mred\x1b]52;c;x\x07"))
    assert "\x1b[32mkept\x1b[0m" in raw.getvalue() and "\\x1b[31mred\\x1b]52;c;x" in raw.getvalue()


@pytest.fixture
def hostile(tmp_path: Path) -> Callable[[str], Path]:
    """A run folder with a text in every place where somebody else's can stand."""

    def make(text: str) -> Path:
        folder = re.sub(r"[\x00/\n\ud800]", "", text)[:40] or "x"
        run = run_folder(tmp_path / f"run {folder}")
        file = run / "evals" / "step-20" / "summary.json"
        summary = json.loads(file.read_text("utf-8"))
        for task in summary["tasks"].values():
            task["first_prompt"] = text
            for flip in task.get("flips") or []:
                flip |= {"question": text, "gold": text, "before": text, "after": text}
            for sample in task.get("samples") or []:
                sample |= {"prompt": text, "output": text, "gold": text}
        pocket = summary["tasks"]["pocket"]
        pocket["by_subject"] = {
            f"{text} {i}": {**one, "lost": 2} for i, one in enumerate(pocket["by_subject"].values())
        }
        summary["tasks"]["broken"] = {"role": "retain", "status": "failed", "error": text, "n": 0, "accuracy": None,
                                      "retention": None}  # fmt: skip
        file.write_text(json.dumps(summary))
        (run / "metrics.jsonl").open("a").write(
            "\n" + json.dumps({"step": 20, "budget/reason": text, "budget/action": text, "train/reward": 1.0,
                               f"train/rewards/{text}/mean": 1.0}) + "\n")  # fmt: skip
        (run / "recipe.yaml").write_bytes(text.encode("utf-8", "backslashreplace"))
        stage = {"stage": "sft", "method": text, "begin": 0, "end": 20}
        (run / "pipeline.json").write_text(json.dumps({"stages": [{**stage, "name": text}]}))
        (run / "environment.json").write_text(json.dumps({"packages": {text: text}, "platform": text}))
        (run / "status.json").write_text(json.dumps({"state": "done", "wandb_dir": text}))
        return run

    return make


ALL_AT_ONCE = r"_hidden $^$ \$^$ [/b] " + "\x1b]52;c;x\x07 <script>alert(1)</script> {{ 7 * 7 }} \u202e \ud800 a\\"


@pytest.mark.parametrize("text", [ALL_AT_ONCE, "[/b]", "\\[/b]", "[link=http://evil]x[/link]", "new\nline"])
def test_a_hostile_runs_last_screen_is_shown(text: str, hostile: Callable[[str], Path]) -> None:
    run = hostile(text)
    for width, encoding in ((200, "utf-8"), (20, "ascii")):
        console, written = screen(width, encoding)
        print_screen(run, console)
        assert not OBEYED.search(written())
        if width == 200:
            assert "Knowledge kept?" in written() and (text not in MARKUP or text in written())


def test_its_pictures_and_pages_are_made(hostile: Callable[[str], Path], tmp_path: Path) -> None:
    run = hostile(ALL_AT_ONCE)
    page = write_report(run)[1].read_text("utf-8")
    assert not OBEYED.search(page) and "<script>alert" not in page and "49" not in page.partition("Recipe")[2][:200]
    console, written = screen()
    compare([str(run), str(run_folder(tmp_path / "other"))], out=tmp_path / "out [/b]", console=console)
    variance(
        [str(run), str(run_folder(tmp_path / "other"))], tasks=["pocket"], out=tmp_path / "out $^$", console=console
    )
    assert not OBEYED.search(written()) and "out [/b]" in written()
    assert not OBEYED.search((tmp_path / "out [/b]" / "compare.html").read_text("utf-8"))


@pytest.mark.parametrize("text", MATHS + CONTROLS)
def test_matplotlib_reads_no_formula_and_hides_no_label(text: str) -> None:
    from matplotlib.figure import Figure

    figure = Figure()
    axis = figure.subplots()
    axis.plot([0, 1], label=in_picture(text))
    axis.set_title(in_picture(text))
    axis.set_yticks([0], [in_picture(text)])
    axis.legend()
    figure.savefig(io.BytesIO(), format="png")
    assert len(axis.get_legend().get_texts()) == 1


def test_tables_of_findings_and_errors_are_shown(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for text in NASTY:
        print_findings([bad(text, text)])
        announce(text)
        monkeypatch.setattr(
            "launch.load.load_any", lambda *_, text=text, **__: (_ for _ in ()).throw(RecipeError(text))
        )
        done = CliRunner().invoke(app, ["check", "quickstart"])
        assert done.exit_code == 2 and not OBEYED.search(done.stderr)
    said = capsys.readouterr()
    assert not OBEYED.search(said.out + said.err) and "[/b]" in said.out
    announce("path a\ndone      all of it")
    assert "\ndone" not in capsys.readouterr().err


def test_rows_of_data_are_shown_as_they_are() -> None:
    from data_mix.forms import PromptRow

    row = PromptRow(
        row={"prompt": [{"role": "user", "content": "a\x1b[2J\rb"}], "answer": "\u202e[/b]", "verifier": "exact"},
        tokens=3,
    )
    text = shown(row, None, plain=True)
    assert "a\\x1b[2J\\rb" in text.plain and "\\u202e[/b]" in text.plain


def test_markdown_of_a_model_is_no_markdown() -> None:
    made = in_markdown("![x](http://evil) | a\n<b> `c` [l](u) \x1b # h")
    assert not re.search(r"[\[\]()<>`|*!](?!br>)", made.replace("<br>", "").replace("&#", "")) and "<br>" in made


def test_half_characters_reach_every_tracker(tmp_path: Path) -> None:
    import wandb

    run = wandb.init(mode="offline", dir=str(tmp_path), settings=wandb.Settings(silent=True, console="off"))
    try:
        tracker = Tracker(tmp_path, run, tensorboard=True)
        for text in ("\ud800", "\x1b]52;c;x\x07", "[/b] $^$"):
            tracker.table(1, "eval/a/samples", [{"prompt": text, "output": text}])
            tracker.log(1, {"budget/reason": text, "a": 1.0})
            tracker.summary(1, {"eval/a/role": text})
            tracker.alert(text, text)
        assert not tracker._warned and any(isinstance(sink, TensorBoard) for sink in tracker.sinks)
    finally:
        run.finish()
    assert [json.loads(line)["a"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()] == [1.0] * 3


def broken(*_: Any, **__: Any) -> None:
    raise ValueError("closing tag '[/b]' doesn't match any open tag\x1b[2J")


def test_showing_changes_no_runs_outcome(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = run_folder(tmp_path / "run")
    set_status(run, "done", 0)
    for what in ("eval_hooks.report.write_report", "eval_hooks.report.print_screen"):
        monkeypatch.setattr(what, broken)
    show_end(run, None)
    said = capsys.readouterr().err
    assert said.count("cannot be shown: ValueError") == 2 and "temper report" in said and "\x1b" not in said
    assert read_status(run)["state"] == "done"
    monkeypatch.setattr("trainers.screen.say_evaluation", broken)
    note_measured(run, {})
    attempt("a picture", lambda: terminal().on_broken_pipe())
    monkeypatch.setattr("eval_hooks.track.show_pictures", broken)
    with pytest.warns(UserWarning, match="cannot be drawn"):
        show_summary(Tracker(tmp_path), {"tasks": {}}, 1)


def test_a_screen_that_is_gone_or_cannot_say_it_ends_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stderr", Gone())
    trainers.announce("x")
    monkeypatch.setattr(sys, "stderr", None)
    trainers.announce("x")
    with pytest.raises(OSError):
        terminal(file=Gone()).print("x")
    assert isinstance(terminal(), Console)


def test_the_command_speaks_to_a_terminal_of_ascii(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "läuft → \u202e")
    env = {**os.environ, "PYTHONIOENCODING": "ascii:strict", "LC_ALL": "C", "PYTHONUTF8": "0", "COLUMNS": "20"}
    words = [sys.executable, "-m", "launch", "compare", str(run), str(run), "--out", str(tmp_path / "o")]
    done = subprocess.run(words, env=env, capture_output=True, timeout=120, check=False)
    assert done.returncode == 0 and b"Traceback" not in done.stderr
    assert all(byte < 128 for byte in done.stdout + done.stderr) and b"uft" in done.stdout


def test_a_pipe_that_is_closed_is_not_the_folders_fault(tmp_path: Path) -> None:
    """As `temper compare A B | head -1`: nothing is said of the folders; 141 as of SIGPIPE, where 1 is an answer."""
    run = run_folder(tmp_path / "run")
    words = [sys.executable, "-m", "launch", "compare", str(run), str(run), "--out", str(tmp_path / "o")]
    left, right = os.pipe()
    os.close(left)
    done = subprocess.run(words, stdout=right, stderr=subprocess.PIPE, timeout=120, check=False)
    os.close(right)
    assert done.stderr == b"" and done.returncode == 141
