"""The W&B view: every number that was logged is in a section, nothing else is, and W&B gets it in its own form."""

import json
from pathlib import Path
from typing import Any

import pytest

from eval_hooks.dashboard import UNSEEN, Logged, Plot, of_folder, of_summaries, save, sections, spec
from eval_hooks.errors import EvalError
from eval_hooks.track import Tracker, show_summary
from tests.eval_hooks.runs import run_folder


def a_run(folder: Path) -> Path:
    """A run folder with all that is logged of it."""
    run = run_folder(folder, skill=-1.0)
    (run / "metrics.jsonl").unlink()
    tracker = Tracker(run)
    tracker.log(5, {"train/loss": 2.0, "train/grad_norm": 1.0, "train/epoch": 0.1})
    for step in (0, 20):
        show_summary(tracker, json.loads((run / f"evals/step-{step}/summary.json").read_text()), step)
    tracker.log(20, {"budget/crossed": 1.0, "budget/reason": "pocket: accuracy fell"})
    (run / "wandb.json").write_text(json.dumps({"id": "x", "entity": None, "project": "mine"}))
    return run


def test_the_sections_of_a_run(tmp_path: Path) -> None:
    found = sections(of_folder(a_run(tmp_path / "run")))
    assert list(found) == ["Target", "Retention", "Calibration", "Training", "Budget"]
    assert found["Target"][0] == Plot(title="sql: accuracy", keys=("eval/sql/accuracy",))
    kept = {plot.title: plot for plot in found["Retention"]}
    of = "eval/pocket/retention"
    assert kept["pocket: change against its base"].keys == (f"{of}/delta", f"{of}/delta_low", f"{of}/delta_high")
    assert kept["pocket: the same, over all looks of the run"].keys == (
        f"{of}/delta",
        f"{of}/delta_run_low",
        f"{of}/delta_run_high",
    )
    assert kept["pocket: which items flipped"] == Plot(
        title="pocket: which items flipped", keys=("eval/pocket/flips",), kind="table"
    )
    assert found["Calibration"][0].keys == ("eval/pocket/reliability",)
    assert [plot.keys for plot in found["Training"]] == [("train/loss", "val/held/loss"), ("train/grad_norm",)]
    assert [plot.keys for plot in found["Budget"]][0] == ("budget/crossed",)


def test_nothing_that_was_logged_is_forgotten_and_nothing_else_is_shown(tmp_path: Path) -> None:
    """Left out on purpose: what tells nothing as a curve, numbers that stand for others in their panel."""
    logged = of_folder(a_run(tmp_path / "run"))
    shown = {key for plots in sections(logged).values() for plot in plots for key in plot.keys}
    assert shown <= logged.keys
    left = {key for key in logged.keys - shown if "/calibration/" not in key and not UNSEEN.fullmatch(key)}
    assert left == {
        "budget/reason",
        "eval/pocket/retention/verdict",
        "eval/sql/retention/verdict",
        "eval/pocket/retention/e_value",
        "eval/pocket/retention/e_value_drop",
        "eval/pocket/retention/log_e_value",
        "eval/pocket/retention/log_e_value_drop",
        "eval/sql/retention/e_value",
        "eval/sql/retention/e_value_drop",
        "eval/sql/retention/log_e_value",
        "eval/sql/retention/log_e_value_drop",
        "eval/sql/hit_limit",
    }


def test_w_and_bs_own_form(tmp_path: Path) -> None:
    made = json.loads(spec(of_folder(a_run(tmp_path / "run"))))["section"]
    assert made["settings"]["xAxis"] == "train/global_step"
    panels = {part["name"]: part["panels"] for part in made["panelBankConfig"]["sections"]}
    lines = [panel["config"] for panel in panels["Retention"] if panel["viewType"] == "Run History Line Plot"]
    of = "eval/pocket/retention"
    assert lines[0]["metrics"] == [f"{of}/delta", f"{of}/delta_low", f"{of}/delta_high"]
    assert {line["xAxis"] for line in lines} == {"train/global_step"}
    assert panels["Calibration"][0]["config"]["mediaKeys"] == ["eval/pocket/reliability"]
    assert '"eval/pocket/flips"' in json.dumps(panels["Retention"])
    assert made["runSets"][0]["runFeed"]["columnPinned"]["summary:eval/pocket/retention/verdict"]


def test_a_projects_keys_come_from_the_summaries_of_its_runs() -> None:
    """The role of a task is in the summary, tables and pictures are maps there."""
    runs = [
        {"eval/mmlu/role": "retain", "eval/mmlu/retention/delta": -0.1, "_step": 3, "eval/mmlu/retention/says": "kept"},
        {"train/loss": 1.0, "eval/mmlu/flips": {"_type": "table-file"}},
    ]
    logged = of_summaries("me", "mine", runs)
    assert logged.keys == {"eval/mmlu/retention/delta", "train/loss", "eval/mmlu/flips"}
    assert list(sections(logged)) == ["Retention", "Training"]


def test_what_is_sent_to_w_and_b(monkeypatch: pytest.MonkeyPatch) -> None:
    """Up to the network call: the account's own entity where the run names none."""
    import wandb
    from wandb_workspaces.workspaces import internal

    sent: list[Any] = []

    class Api:
        default_entity = "me"
        client = type("Client", (), {"app_url": "https://wandb.ai"})()

    monkeypatch.setattr(wandb, "Api", Api)
    monkeypatch.setattr(
        internal,
        "upsert_view2",
        lambda view: sent.append(view) or {"upsertView": {"view": {"name": "nw-ab-v", "id": "7"}}},
    )
    logged = Logged(name="Tempering: quickstart", project="mine", keys=frozenset({"train/loss"}))
    assert save(logged) == "https://wandb.ai/me/mine?nw=ab"
    (view,) = sent
    assert (view.entity, view.project, view.display_name) == ("me", "mine", "Tempering: quickstart")


def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eval_hooks.dashboard.find_spec", lambda name: None)
    with pytest.raises(EvalError, match=r"pip install 'tempering\[dashboard\]'"):
        spec(Logged(name="x", project="mine", keys=frozenset()))
