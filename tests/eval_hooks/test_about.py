"""The page of what a run is about: panels follow from what was logged."""

import json
from pathlib import Path
from typing import Any

import pytest

from eval_hooks.report.about import PANELS, about_png
from eval_hooks.report.html import write_html
from eval_hooks.report.view import read_run, stage_table
from tests.eval_hooks.runs import run_folder


def panels(folder: Path) -> int:
    run = read_run(folder)
    return sum(len(list(panel(run))) for panel in PANELS)


def log(folder: Path, **values: float) -> None:
    file = folder / "metrics.jsonl"  # in front: the last line of the example is half written
    file.write_text(json.dumps({"step": 10, "time": 0.0, **values}) + "\n" + file.read_text())


def edit(folder: Path, change: Any) -> None:
    for file in folder.glob("evals/step-*/summary.json"):
        summary = json.loads(file.read_text())
        change(summary)
        file.write_text(json.dumps(summary))


def test_a_run_with_held_out_loss_has_that_panel_and_no_other(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run")
    assert panels(folder) == 1
    image = about_png(read_run(folder))
    assert image is not None and image.startswith(b"\x89PNG")


def test_rewards_pairs_and_forgetting_each_bring_their_panels(tmp_path: Path) -> None:
    """Three for rewards, three for pairs, two for forgetting, beside the held-out loss."""
    folder = run_folder(tmp_path / "run")
    log(folder, **{"train/reward": 0.5, "train/rewards/number/mean": 0.25, "train/entropy": 1.0})
    assert panels(folder) == 4
    number = {"value": 1.0, "low": 0.5, "high": 1.5, "n": 3, "method": "", "reason": None}
    edit(folder, lambda s: s["validation"].update(pairs={"kind": "pairs", "n": 3, "margin": number}))
    assert panels(folder) == 7

    def down(summary: Any) -> None:
        target = next(task for task in summary["tasks"].values() if task["role"] == "target")
        target["goal"] = "down"

    edit(folder, down)
    assert panels(folder) == 9
    assert about_png(read_run(folder))


def test_a_run_without_any_of_them_has_no_page(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run")
    edit(folder, lambda s: s.update(validation={}))
    assert about_png(read_run(folder)) is None
    write_html(read_run(folder), tmp_path / "report.html")
    assert "What this run is about" not in (tmp_path / "report.html").read_text()


def test_the_table_over_stages_reads_the_seams(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run")
    steps = [summary["step"] for summary in read_run(folder).summaries]
    assert stage_table(read_run(folder)) is None
    stages = [{"name": "a", "stage": "sft", "method": "nll", "begin": 0, "end": steps[1]},
              {"name": "b", "stage": "dpo", "method": "sigmoid", "begin": steps[1], "end": steps[-1]}]  # fmt: skip
    (folder / "pipeline.json").write_text(json.dumps({"stages": stages}))
    table = stage_table(read_run(folder))
    assert table is not None and table.columns == ("base", "after a", "after b")
    run = read_run(folder)
    for name, cells in table.rows:
        due = [run.at(step)["tasks"].get(name) for step in (0, steps[1], steps[-1])]  # type: ignore[index]
        assert list(cells) == due
    write_html(run, tmp_path / "report.html")
    assert "What each run did" in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize(
    ("goal", "verdict", "due"),
    [("up", "gained", "yes"), ("up", "dropped", "no, it fell"), ("down", "dropped", "yes"), ("down", "gained", "no, it rose"),
     ("down", "kept", "not proven"), ("up", "undecided", "not proven")],
)  # fmt: skip
def test_a_target_is_reached_in_its_own_direction(goal: str, verdict: str, due: str) -> None:
    from eval_hooks.report.words import question, reached

    assert reached({"goal": goal, "retention": {"verdict": verdict}})[0] == due
    assert question({"goal": goal}) == {"up": "Target up?", "down": "Forgotten?"}[goal]
