"""A temperature from validation items to calibration.json beside the checkpoint, in somebody's Trainer and in numbers."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eval_hooks import CheckpointEval
from eval_hooks.calibration.brier import brier
from eval_hooks.calibration.ece import ece
from eval_hooks.calibration.nll import nll
from eval_hooks.calibration.rescaled import calibration_file, rescaled
from eval_hooks.calibration.temperature import LEAST, MOST, fit_temperature, scaled, temperatures
from eval_hooks.config import TaskSpec
from eval_hooks.errors import EvalError
from eval_hooks.intervals import times_drawn
from eval_hooks.known import Known
from eval_hooks.ready import load_items
from eval_hooks.summary import summarise_task
from eval_hooks.table import column, read_table, scores
from eval_hooks.track import flatten_summary
from tests.eval_hooks.tables import choices, random_choices
from tests.eval_hooks.test_callback import bare, summaries

POCKET = {"task": "pocket", "variant": "olmes_cf", "shots": 0, "limit": 20, "temperature_split": "validation"}


def test_the_temperature_of_a_resample_is_what_a_fit_on_it_finds() -> None:
    table = random_choices(120)
    z, gold = 3 * scores(table), column(table, "gold").copy()
    z[0, 3] = -np.inf  # an item with fewer options
    gold[0] = 0
    index = np.random.default_rng(0).integers(0, 120, (40, 120))
    found = temperatures(z, gold)(times_drawn(index))["temperature"]
    assert found == pytest.approx([fit_temperature(z[i], gold[i]).value for i in index], rel=2e-4)


@pytest.mark.parametrize(("gold", "bound"), [(0, LEAST), (1, MOST)])
def test_resamples_that_are_all_right_or_all_wrong_end_at_the_bounds(gold: int, bound: float) -> None:
    z = np.array([[2.0, 0.0]] * 5)
    assert temperatures(z, np.full(5, gold))(np.ones((1, 5)))["temperature"] == pytest.approx([bound])


def test_numbers_at_the_temperature_by_hand() -> None:
    """Validation: gaps of 2, three of four right, so T = 2 / ln 3. The task: gaps of 4, nine of ten right.

    At T a gap of 4 gives odds 3^2, so confidence 0.9: no gap in its one bin; NLL = -.9 ln .9 - .1 ln .1 = 0.325083; Brier
    .9 (2 x .01) + .1 (2 x .81) = 0.18. Before, e^4 odds: confidence 0.982014, ECE 0.082014.
    """
    validation = choices([[2, 0]] * 4, [0, 0, 0, 1])
    table = choices([[4, 0]] * 10, [0] * 9 + [1])
    found = rescaled(table, validation, "validation")
    assert found["temperature"].value == pytest.approx(2 / np.log(3), abs=1e-4)
    assert found["temperature"].n == 4 and found["temperature"].reason is None
    assert found["ece_after_temperature"].value == pytest.approx(0.0, abs=1e-4)
    assert found["nll_after_temperature"].value == pytest.approx(0.325083, abs=1e-5)
    assert found["brier_after_temperature"].value == pytest.approx(0.18, abs=1e-5)
    entry = summarise_task(table, role="retain", validation=validation, temperature_split="validation")
    saved = calibration_file({"t": entry})["t"]
    assert (saved["split"], saved["n"]) == ("validation", 4)
    assert (saved["ece_before"], saved["ece_after"]) == pytest.approx((0.082014, 0.0), abs=1e-4)
    assert flatten_summary({"tasks": {"t": entry}})["eval/t/calibration/temperature"] == saved["temperature"]


def test_intervals_resample_validation_items_for_the_temperature_and_the_tasks_for_the_rest() -> None:
    validation, table = random_choices(300, seed=1), random_choices(200, seed=2)
    found, rng = rescaled(table, validation, "val"), np.random.default_rng(0)
    z, gold = scores(validation), column(validation, "gold")
    draws = [rng.integers(0, 300, 300) for _ in range(1000)][:200]
    low, high = np.quantile([fit_temperature(z[i], gold[i]).value for i in draws], [0.025, 0.975])
    assert (found["temperature"].low, found["temperature"].high) == pytest.approx((low, high), rel=0.05)
    p, gold = scaled(scores(table), found["temperature"].value), column(table, "gold")
    conf, correct, each = p.max(1), column(table, "correct").astype(float), nll(p[np.arange(200), gold])
    assert found["ece_after_temperature"].value == pytest.approx(ece(conf, correct))
    assert found["brier_after_temperature"].value == pytest.approx(brier(p, gold).mean())
    rng = np.random.default_rng(0)
    means = [each[rng.integers(0, 200, 200)].mean() for _ in range(1000)]
    after = found["nll_after_temperature"]
    assert (after.low, after.high) == pytest.approx(np.quantile(means, [0.025, 0.975]))
    assert "300 val items" in after.method


def test_where_no_split_is_named_the_numbers_are_missing_with_a_reason() -> None:
    entry = summarise_task(random_choices(30), role="retain")
    for key in ("temperature", "ece_after_temperature", "nll_after_temperature", "brier_after_temperature"):
        assert entry["calibration"][key]["value"] is None
        assert "temperature_split" in entry["calibration"][key]["reason"]
    assert calibration_file({"t": entry, "sql": {"status": "ok"}}) == {}


def test_a_temperature_at_its_bound_says_so() -> None:
    found = rescaled(random_choices(20), choices([[2, 0]] * 4, [0] * 4), "validation")["temperature"]
    assert found.value == pytest.approx(LEAST, abs=0.01) and "at its bound" in found.reason


def test_in_a_trainer_the_temperatures_lie_beside_every_checkpoint(small_tokenizer: Any, tmp_path: Path) -> None:
    """Saved at 2 (after its evaluation) and 3 (the last, evaluated after it was saved); 1 is saved, not evaluated."""
    callback = CheckpointEval(retain=[POCKET], every=2, out=tmp_path / "run")
    bare(small_tokenizer, tmp_path, callback, steps=3, save_strategy="steps", save_steps=1, learning_rate=1e-2).train()
    found = summaries(tmp_path / "run")
    assert sorted(found) == [0, 2, 3]
    for step in (2, 3):
        saved = json.loads((tmp_path / "out" / f"checkpoint-{step}" / "calibration.json").read_text())["pocket"]
        numbers = found[step]["tasks"]["pocket"]["calibration"]
        assert saved["temperature"] == numbers["temperature"]["value"]
        assert saved["ece_after"] == numbers["ece_after_temperature"]["value"]
        assert (saved["n"], saved["split"]) == (20, "validation")
        table = read_table(tmp_path / "run" / "evals" / f"step-{step}" / "pocket.validation.parquet")
        assert set(table.column("split").to_pylist()) == {"validation"}
        assert saved["temperature"] == fit_temperature(scores(table), column(table, "gold")).value
        scored = read_table(tmp_path / "run" / "evals" / f"step-{step}" / "pocket.parquet")
        assert scored.num_rows == table.num_rows == 20 and "split" not in scored.column_names
    assert not (tmp_path / "out" / "checkpoint-1" / "calibration.json").exists()
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert "eval/pocket/calibration/ece_after_temperature" in lines[-1]


def test_a_known_start_has_its_validation_items_too(
    small_tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second run from one base scores neither table again, and finds the same temperature."""
    from eval_hooks import evaluate

    runs = []
    for name in ("a", "b"):
        known = Known(folder=tmp_path / "known", weights=lambda: "w")
        callback = CheckpointEval(retain=[POCKET], out=tmp_path / name, known=known)
        scored: list[str] = []
        measure = evaluate.measure
        monkeypatch.setattr(
            evaluate, "measure", lambda task, *a, f=measure, s=scored: (s.append(task.name), f(task, *a))[1]
        )
        bare(small_tokenizer, tmp_path, callback, steps=1, learning_rate=0.0).train()
        monkeypatch.setattr(evaluate, "measure", measure)
        runs.append((scored, summaries(tmp_path / name)[0]["tasks"]["pocket"]["calibration"]["temperature"]))
    assert runs[0][0] == ["pocket", "pocket.validation"] * 2
    assert runs[1][0] == ["pocket", "pocket.validation"]
    assert runs[0][1] == runs[1][1]


def mmlu(folder: Path, **splits: list[str]) -> str:
    for split, questions in splits.items():
        rows = [f"s,{i},{question},a,b,c,d,A" for i, question in enumerate(questions)]
        (folder / f"{split}.csv").write_text("\n".join(["subject,idx,question,A,B,C,D,answer", *rows]))
    return str(folder)


def test_mmlu_by_path_takes_its_validation_file(tmp_path: Path) -> None:
    path = mmlu(tmp_path, dev=["d1"], val=["v1", "v2", "v3"], test=["t1", "t2"])
    for place in (path, f"{path}/test.csv"):
        for name in ("val", "validation"):
            found = load_items(TaskSpec(task="mmlu", path=place, shots=1, temperature_split=name, limit=2))
            assert [item.question for item in found.items] == ["t1", "t2"]
            assert [item.question for item in found.validation.items] == ["v1", "v2"]
            assert found.validation.dev["s"][0].question == "d1"


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"task": "pocket", "shots": 0, "temperature_split": "test"}, "temperature_split 'test': .*name validation"),
        ({"task": "pocket", "shots": 0, "split": "dev", "temperature_split": "dev"}, "'dev': .*meaningless"),
        ({"task": "pocket", "shots": 0, "split": "dev", "temperature_split": "val"}, "holds the scored items themselves"),
        ({"task": "pocket", "shots": 5, "temperature_split": "validation"}, "score it at shots: 0"),
        ({"task": "pocket", "shots": 5, "temperature_split": "dev"}, "the dev rows are the shots"),
        ({"task": "pocket", "shots": 0, "temperature_split": "train"}, "split 'train'"),
        ({"task": "sql", "temperature_split": "validation"}, "scores no options"),
    ],
)  # fmt: skip
def test_a_split_that_cannot_be_fitted_on_is_refused_before_the_run(entry: dict[str, Any], message: str) -> None:
    with pytest.raises(EvalError, match=message):
        CheckpointEval(retain=[entry], rows={"sql": [{"prompt": "p", "answer": "a"}]})


def test_a_file_that_is_scored_is_not_fitted_on(tmp_path: Path) -> None:
    path = mmlu(tmp_path, val=["v1", "v2"])
    with pytest.raises(EvalError, match="holds the scored items"):
        load_items(TaskSpec(task="mmlu", path=f"{path}/val.csv", shots=0, temperature_split="val"))
    with pytest.raises(EvalError, match="no file for split 'calib'"):
        load_items(TaskSpec(task="mmlu", path=f"{path}/val.csv", shots=0, temperature_split="calib"))
