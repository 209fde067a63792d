"""The two runs the README shows, whole: what teaches is not called a loss, what damages is."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.test_end_to_end import temper

pytestmark = pytest.mark.soak


def last_tasks(run: Path) -> dict[str, Any]:
    return json.loads((run / "evals" / "step-60" / "summary.json").read_text())["tasks"]


@pytest.mark.parametrize(("recipe", "dropped"), [("quickstart", False), ("sft/forgetful", True)])
def test_the_verdict_is_dropped_where_the_model_is_damaged_and_only_there(
    tmp_path: Path, smollm2: Path, recipe: str, dropped: bool
) -> None:
    done = temper(tmp_path, "train", recipe, "--run-dir", "run")
    assert done.returncode == 0, done.stderr
    tasks = last_tasks(tmp_path / "run")
    assert tasks["sql"]["retention"]["verdict"] == "gained"
    assert (tasks["pocket"]["retention"]["verdict"] == "dropped") is dropped
