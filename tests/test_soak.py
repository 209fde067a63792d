"""The embedded model, whole runs: what teaches is not called a loss, what damages is; each stage reaches its target."""

import json
from pathlib import Path
from random import Random
from typing import Any

import pytest

from data_mix.catalog import SOURCES
from data_mix.sources.curriculum import Curriculum
from tests.test_end_to_end import temper

pytestmark = pytest.mark.soak


def summary(run: Path, step: int) -> dict[str, Any]:
    return json.loads((run / "evals" / f"step-{step}" / "summary.json").read_text())


@pytest.mark.parametrize(("recipe", "dropped"), [("quickstart", False), ("sft/forgetful", True)])
def test_the_verdict_is_dropped_where_the_model_is_damaged_and_only_there(
    tmp_path: Path, smollm2: Path, recipe: str, dropped: bool
) -> None:
    done = temper(tmp_path, "train", recipe, "--run-dir", "run")
    assert done.returncode == 0, done.stderr
    tasks = summary(tmp_path / "run", 60)["tasks"]
    assert tasks["sql"]["retention"]["verdict"] == "gained"
    assert (tasks["pocket"]["retention"]["verdict"] == "dropped") is dropped


@pytest.mark.parametrize("stage", ["dpo", "rlvr"])
def test_a_stages_quickstart_proves_that_its_target_went_up(tmp_path: Path, smollm2: Path, stage: str) -> None:
    done = temper(tmp_path, "train", f"{stage}/quickstart", "--run-dir", "run", "eval.retain=[]", "eval.every=null")
    assert done.returncode == 0, done.stderr
    (target,) = summary(tmp_path / "run", 30)["tasks"].values()
    assert target["retention"]["verdict"] == "gained"


def test_rewards_for_shuffled_golds_teach_nothing(tmp_path: Path, smollm2: Path) -> None:
    """The rlvr quickstart, each list's gold a word of it drawn at random: naming the last one is not learned."""
    write_shuffled(tmp_path / "shuffled.jsonl")
    words = ("data.train=[{source: jsonl, path: shuffled.jsonl}]", "eval.retain=[]", "eval.every=null")
    done = temper(tmp_path, "train", "rlvr/quickstart", "--run-dir", "run", *words)
    assert done.returncode == 0, done.stderr
    (target,) = summary(tmp_path / "run", 30)["tasks"].values()
    assert target["retention"]["verdict"] != "gained"


def write_shuffled(file: Path) -> None:
    """The quickstart's rows with golds that say nothing."""
    rows = SOURCES["curriculum"].rows(Curriculum(n=200, kinds=("last_word",)), Random(0))
    draw = Random(0)
    moved = [{**row, "answer": draw.choice(row["choices"])} for row in rows]
    file.write_text("".join(json.dumps(row) + "\n" for row in moved), "utf-8")


def test_gradient_ascent_wrecks_what_was_to_stay_and_npo_does_not(tmp_path: Path, smollm2: Path) -> None:
    """From one model that knows 40 facts: both forget; NPO keeps most retained facts, ascent nearly none, and costs more."""
    assert temper(tmp_path, "train", "sft/facts", "--run-dir", "facts", "eval.retain=[]").returncode == 0
    kept, forgotten = {}, {}
    for method in ("npo", "grad_ascent"):
        words = (f"model.path={tmp_path}/facts:16", "--run-dir", method, "eval.every=null")
        assert temper(tmp_path, "train", f"unlearn/{method}", *words).returncode == 0
        tasks = summary(tmp_path / method, 20)["tasks"]
        forgotten[method] = 1 - tasks["forget"]["accuracy"]["value"]
        kept[method] = (tasks["retain"]["accuracy"]["value"], tasks["pocket"]["retention"]["delta"]["value"])
    assert min(forgotten.values()) > 0.4
    assert kept["npo"][0] > 0.7 and kept["grad_ascent"][0] < 0.3
    assert kept["grad_ascent"][1] < min(kept["npo"][1], -0.03)


def test_continued_pretraining_learns_the_domain_and_replay_holds_general_text(tmp_path: Path, smollm2: Path) -> None:
    """The domain's loss falls by more than 0.3 nats; general loss rises less with replay than without."""
    alone = "data.train=[{source: pydoc, split: train, n: 320, seed: 0}]"
    change = {}
    for name, words in (("replay", ()), ("alone", (alone,))):
        done = temper(
            tmp_path, "train", "cpt/quickstart", "--run-dir", name, "eval.retain=[]", "eval.every=null", *words
        )
        assert done.returncode == 0, done.stderr
        before, after = (summary(tmp_path / name, step)["validation"] for step in (0, 40))
        change[name] = {key: after[key]["loss"]["value"] - before[key]["loss"]["value"] for key in before}
    assert change["replay"]["python"] < -0.3 and change["alone"]["python"] < -0.3
    assert change["replay"]["general"] < change["alone"]["general"]
