"""Which checkpoints stay, which is the best, and what is refused before a run that could not keep its word."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from eval_hooks import EvalError
from eval_hooks.config import Keep
from eval_hooks.keep import best, condition, greater, known_keys
from eval_hooks.summary import summarise_task
from tests.eval_hooks.tables import random_choices
from tests.trainers.test_actions import crossed_at
from trainers import TrainError
from trainers.keeping import check_rule, disk, leave_weights, point
from trainers.models import load_model, load_tokenizer
from trainers.recipe import Recipe
from trainers.run import train

Load = Callable[..., Recipe]
RUN = Path("runs/tiny")


def summary(step: int, accuracy: float, low: float) -> dict[str, Any]:
    delta = {"value": low + 0.01, "low": low, "high": low + 0.02}
    kept = {"delta": delta, "lost": 1, "gained": 0, "e_value": 1.0, "e_value_drop": 1.0}
    task = {"status": "ok", "accuracy": {"value": accuracy}, "retention": kept}
    return {"step": step, "tasks": {"sql": task}}


def test_the_best_is_the_first_of_the_greatest_where_the_condition_holds() -> None:
    found = [summary(1, 0.5, -0.01), summary(2, 0.9, -0.05), summary(3, 0.7, -0.02), summary(4, 0.7, 0.0)]
    assert best(Keep(by="eval/sql/accuracy"), found) == 2
    assert best(Keep(by="eval/sql/accuracy", subject_to="eval/sql/retention/delta_low >= -0.02"), found) == 3
    assert best(Keep(by="eval/sql/accuracy", subject_to="eval/sql/retention/delta_low > 0.5"), found) is None
    assert best(Keep(by="eval/sql/accuracy", greater_is_better=False), found) == 1
    assert best(Keep(by="val/held/loss"), found) is None


@pytest.mark.parametrize(
    ("key", "is_better"),
    [("eval/sql/accuracy", True), ("val/held/loss", False), ("eval/pocket/calibration/smooth_ece", False),
     ("eval/pocket/calibration/auroc", True), ("eval/pocket/retention/delta_low", True), ("eval/pocket/retention/forgetting", False),
     ("eval/pocket/calibration/brier_top_label", False), ("eval/loss/accuracy", True)],
)  # fmt: skip
def test_losses_and_calibration_errors_are_better_small(key: str, is_better: bool) -> None:
    assert greater(Keep(by=key)) is is_better


def test_the_goal_of_a_task_turns_what_is_best() -> None:
    """Unlearning ships what forgot most; calibration stays as it is; nobody knows which way a temperature is better."""
    down = {
        "facts": {"goal": "down", "directions": {"chrf": "up"}},
        "wiki": {"directions": {"word_perplexity": "down"}},
    }
    turned = (
        "accuracy",
        "em_value",
        "retention/delta",
        "calibration/coverage_at_risk_5",
        "chrf,none",
        "retention/gained",
    )
    assert not any(greater(Keep(by=f"eval/facts/{key}"), down) for key in turned)
    assert all(greater(Keep(by=f"eval/facts/{key}"), down) for key in ("truth_ratio", "retention/lost"))
    assert not greater(Keep(by="eval/facts/calibration/ece"), down) and not greater(Keep(by="val/facts/loss"), down)
    assert greater(Keep(by="eval/pocket/calibration/coverage_at_risk_5")) is True
    assert not greater(Keep(by="eval/wiki/word_perplexity"), down)
    found = [{**summary(1, 0.9, 0.0)}, {**summary(2, 0.2, 0.0)}]
    for one in found:
        one["tasks"]["sql"]["goal"] = "down"
    assert best(Keep(by="eval/sql/accuracy"), found) == 2
    for key in ("eval/x/calibration/temperature", "eval/x/retention/e_value", "train/loss"):
        with pytest.raises(EvalError, match="greater_is_better: true or false"):
            greater(Keep(by=key))


def test_every_number_of_a_summary_has_a_row_in_the_table_of_metrics() -> None:
    from eval_hooks.results.metrics import unknown
    from eval_hooks.track import flatten_summary

    pair = [random_choices(40, skill=skill) for skill in (2.0, 0.5)]
    entry = summarise_task(pair[1], role="retain", baseline=pair[0])
    logged = flatten_summary({"tasks": {"pocket": {**entry, "seconds": 1.0}}})
    assert unknown([key for key, value in logged.items() if not isinstance(value, str)]) == []
    assert unknown(known_keys({"a": "choice", "b": "recall", "c": "generate"}, ["held"])) == []
    assert set(logged) - {"eval/pocket/retention/verdict"} <= set(known_keys({"pocket": "choice"}, []))


def test_a_condition_is_a_key_a_comparison_and_a_number() -> None:
    assert condition("eval/a/retention/delta_low >= -0.02") == ("eval/a/retention/delta_low", ">=", -0.02)
    assert condition("val/x/loss<1e-3") == ("val/x/loss", "<", 0.001)
    for wrong in ("eval/a/accuracy", "eval/a/accuracy == 1", "eval/a/accuracy > high"):
        with pytest.raises(EvalError, match="write KEY >= NUMBER"):
            condition(wrong)


def test_the_keys_that_evaluations_log_are_known() -> None:
    keys = known_keys({"pocket": "choice", "sql": "generate", "facts": "recall"}, ["held"])
    assert {"eval/pocket/retention/delta_low", "eval/pocket/calibration/ece", "eval/sql/accuracy", "val/held/loss",
            "eval/sql/retention/delta", "eval/facts/em_value"} <= set(keys)  # fmt: skip
    assert {"eval/sql/retention/delta_run_low", "eval/pocket/retention/forgetting"} <= set(keys)
    assert not {"eval/sql/calibration/ece", "eval/pocket/retention/verdict", "eval/sql/retention/forgetting"} & set(
        keys
    )


def test_a_task_of_lm_evals_may_decide_under_its_own_name(recipe: Load) -> None:
    check_rule(recipe("eval.retain=[{task: 'lm_eval:arc_easy'}]", "eval.keep={by: eval/arc_easy/accuracy}"))
    with pytest.raises(TrainError, match="tasks: arc_easy"):
        check_rule(recipe("eval.retain=[{task: 'lm_eval:arc_easy'}]", "eval.keep={by: eval/other/accuracy}"))


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.glob("checkpoints/checkpoint-*"))


def test_two_to_resume_from_and_the_weights_of_the_best(recipe: Load) -> None:
    """By the loss the first one may win or not; by step-wise lost items. All four are measured, two and the best stay."""
    words = ("eval.every=1", "eval.keep={by: eval/pocket/accuracy, greater_is_better: false}")
    assert train(recipe(*words)) == 0
    status = json.loads((RUN / "status.json").read_text())
    chosen = status["recommended"]
    assert (RUN / "best").resolve() == (RUN / "checkpoints" / f"checkpoint-{chosen}").resolve()
    assert set(names(RUN)) == {"checkpoint-3", "checkpoint-4", f"checkpoint-{chosen}"}
    values = {}
    for step in (1, 2, 3, 4):
        found = json.loads((RUN / f"evals/step-{step}/summary.json").read_text())
        values[step] = found["tasks"]["pocket"]["accuracy"]["value"]
    assert values[chosen] == min(values.values())
    resumable = [(RUN / "checkpoints" / name / "optimizer.pt").is_file() for name in ("checkpoint-3", "checkpoint-4")]
    assert all(resumable)


def test_only_the_weights_are_left_of_a_checkpoint_that_is_kept_for_them(recipe: Load, tmp_path: Path) -> None:
    assert train(recipe("train.max_steps=1", "eval.retain=[]")) == 0
    folder = RUN / "checkpoints/checkpoint-1"
    (folder / "global_step1").mkdir()
    leave_weights(folder, tmp_path)
    left = sorted(file.name for file in folder.iterdir())
    assert {"model.safetensors", "config.json", "tokenizer.json"} <= set(left)
    assert not any("optim" in name or "rng" in name or "global" in name or "trainer" in name for name in left)
    assert load_model(recipe(f"model.path={folder}").model, load_tokenizer(recipe().model)) is not None


def test_what_roll_back_needs_is_never_deleted(recipe: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    """Crossed at 2, 3 and 4 with a patience of three: checkpoint 1 is still there, and training goes on from it."""
    crossed_at(monkeypatch, 2, 3, 4, times=3)
    words = ("eval.every=1", "train.save_total_limit=1")
    assert train(recipe(*words, "eval.budget={accuracy_drop: 0.02, action: roll_back, patience: 3}")) == 0
    assert json.loads((RUN / "budget.actions.json").read_text())["taken"][0]["back_to"] == 1
    assert names(RUN) == ["checkpoint-4"]


def test_a_limit_of_the_users_own_is_kept_and_null_keeps_all(recipe: Load) -> None:
    assert train(recipe("eval.every=1", "train.save_total_limit=null", "eval.retain=[]")) == 0
    assert len(names(RUN)) == 4


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("eval.budget={action: roll_back, accuracy_drop: 0.02}",), "needs a checkpoint wherever is measured"),
        (("eval.every=2", "train.save_strategy=steps", "train.save_steps=4",
          "eval.budget={action: roll_back, accuracy_drop: 0.02}"), "save_steps 4"),
        (("eval.keep={by: eval/pocket/acuracy}",), "logs 'eval/pocket/acuracy'; near it: eval/pocket/accuracy"),
        (("eval.keep={by: eval/sql/accuracy}",), "tasks: pocket"),
        (("eval.keep={by: eval/pocket/accuracy, subject_to: 'x > 1'}",), "logs 'x'"),
        (("train.metric_for_best_model=eval_loss",), "logs 'eval_loss'"),
    ],
)  # fmt: skip
def test_what_could_not_be_kept_is_refused_at_the_start(recipe: Load, words: tuple[str, ...], message: str) -> None:
    with pytest.raises(TrainError, match=message):
        train(recipe(*words))
    assert not RUN.exists()


def test_trls_name_for_the_best_checkpoint_works_too(recipe: Load) -> None:
    words = ("eval.every=2", "train.metric_for_best_model=eval/pocket/calibration/ece")
    assert train(recipe(*words)) == 0
    assert json.loads((RUN / "status.json").read_text())["recommended"] in (2, 4) and (RUN / "best").is_dir()


def test_the_disk_is_counted_before_the_start(recipe: Load, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """0.15 M weights of 4 bytes and Adam's 8: 1.8 MB a checkpoint, two and the one being written."""
    model = load_model(recipe().model, load_tokenizer(recipe().model))
    assert disk(recipe(), model, tmp_path, half=False).startswith(
        "2 checkpoints to resume from, 0.0018 GB each; at most 0.0054 GB"
    )
    monkeypatch.setattr("trainers.keeping.shutil.disk_usage", lambda folder: type("Usage", (), {"free": 1e6}))
    with pytest.raises(TrainError, match=r"0.001 GB are free; set train.save_total_limit: 1"):
        disk(recipe(), model, tmp_path, half=False)


def test_a_link_is_moved_and_never_missing(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / "checkpoints" / name).mkdir(parents=True)
        point(tmp_path / "best", tmp_path / "checkpoints" / name)
        assert (tmp_path / "best").resolve().name == name
    assert sorted(file.name for file in tmp_path.iterdir()) == ["best", "checkpoints"]
