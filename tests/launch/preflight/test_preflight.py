"""All checks are looked at and shown; the quick ones stand before every training, and change nothing in it."""

import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from typer.testing import CliRunner

from launch.cli import app
from launch.findings import Finding, ok, warn
from launch.load import load_any
from launch.preflight import before_training, preflight, said
from launch.preflight.catalog import CHECKS, Check
from launch.preflight.subject import Subject
from launch.recipes import names
from trainers import TrainError
from trainers.recipe import Pipeline, Recipe

Load = Callable[..., Recipe]


def broken(subject: Subject) -> list[Finding]:
    raise ZeroDivisionError("surprise")


def refuses(subject: Subject) -> list[Finding]:
    raise TrainError("model.path 'x': no such folder; name another")


def needs_the_tokenizer(subject: Subject) -> list[Finding]:
    return [ok(f"{len(subject.tokenizer)} tokens")]


def test_a_check_that_breaks_is_a_finding_and_the_others_are_looked_at(recipe: Load) -> None:
    checks = {"a": Check(look=broken), "b": Check(look=refuses), "c": Check(look=lambda subject: [ok("fine")])}
    a, b, c = preflight(recipe(), checks=checks)
    assert (a.name, a.state) == ("a", "bad") and "ZeroDivisionError: surprise" in a.found
    assert (b.state, b.found, b.remedy) == ("bad", "model.path 'x': no such folder", "name another")
    assert c.state == "ok"


def test_what_cannot_be_had_is_bad_once_and_then_named(recipe: Load) -> None:
    row = Check(look=needs_the_tokenizer)
    first, second = preflight(recipe("model.path=/no/where"), checks={"a": row, "b": row})
    assert first.state == "bad" and "/no/where" in first.found
    assert second.state == "warn" and "needs tokenizer" in second.found


def test_a_shared_thing_is_made_once(recipe: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    import trainers.models

    made: list[int] = []
    load = trainers.models.load_tokenizer
    monkeypatch.setattr(trainers.models, "load_tokenizer", lambda section: (made.append(1), load(section))[1])
    row = Check(look=needs_the_tokenizer)
    preflight(recipe(), checks={"a": row, "b": row})
    assert made == [1]


def test_a_model_that_one_process_has_no_room_for_is_not_looked_at(
    recipe: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    """0.15M parameters and their gradients in fp32 are 1.1 MiB."""
    import trainers.reference

    monkeypatch.setattr(trainers.reference, "free_bytes", lambda: 2**20)
    names = ("adapter", "precision", "accumulation", "longest rows")
    findings = preflight(recipe("train.learning_rate=1e-4"), checks={name: CHECKS[name] for name in names})
    assert [finding.state for finding in findings] == ["ok", "warn", "warn", "warn"]
    assert "GiB in one process (0.0 free)" in findings[-1].found


def test_a_messages_remedy_is_what_follows_its_first_semicolon() -> None:
    finding = said("a: 3; write 4; or 5")
    assert (finding.found, finding.remedy) == ("a: 3", "write 4; or 5")


# --- the command


def test_the_command_ends_with_1_where_something_is_bad_and_prints_nothing_but_json(recipe_file: Path) -> None:
    words = ["check", str(recipe_file), "train.warmup_steps=9", "--json"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 1, done.output
    findings = json.loads(done.stdout)
    assert {finding["name"] for finding in findings} == set(CHECKS)
    assert [f["name"] for f in findings if f["state"] == "bad"] == ["learning rate"]
    assert f"check     1/{len(CHECKS)} keys and files" in done.stderr


def test_the_command_ends_with_2_where_the_recipe_cannot_be_read(recipe_file: Path) -> None:
    done = CliRunner().invoke(app, ["check", str(recipe_file), "train.max_step=3"])
    assert done.exit_code == 2
    assert "did you mean 'max_steps'?" in done.stderr


@pytest.mark.parametrize("stage", ["cpt", "dpo", "rlvr", "unlearn"])
def test_every_check_looks_at_every_stage_or_says_why_not(
    stage: str, tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TEMPERING_CACHE", str(tmp_path / "cache"))
    at = "pipeline.0.set.model.path" if stage == "unlearn" else "model.path"
    Path("texts.jsonl").write_text("".join(json.dumps({"text": f"number {i} " * i}) + "\n" for i in range(1, 40)))
    texts = ["data.train=[{source: jsonl, path: texts.jsonl}]", "data.validation=null"] if stage == "cpt" else []
    loaded = load_any(f"smoke/{stage}", [f"{at}={tiny_folder}", "track.wandb.mode=disabled", *texts])
    findings = preflight(loaded)
    runs = ["learn: ", "forget: "] if isinstance(loaded, Pipeline) else [""]
    assert {finding.name for finding in findings} == {f"{run}{name}" for run in runs for name in CHECKS}
    assert [finding for finding in findings if finding.state == "bad" or "not looked at" in finding.found] == []


# --- before training


def test_a_training_that_would_be_wrong_does_not_begin(recipe_file: Path) -> None:
    words = ["train", str(recipe_file), "--run-dir", "run", "adapter={kind: lora, target_modules: [q_porj]}"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 2
    assert done.stderr.splitlines()[-2].startswith("adapter: target_modules: the model has no q_porj; write all-linear")
    assert not Path("run").exists()


def test_warnings_are_lines_on_the_first_ranks_screen(
    recipe: Load, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before_training(recipe("train.learning_rate=1e-2"))
    assert "warning   learning rate: train.learning_rate 0.01: high for full tuning" in capsys.readouterr().err
    monkeypatch.setenv("RANK", "1")
    before_training(recipe("train.learning_rate=1e-2"))
    assert capsys.readouterr().err == ""


def test_what_training_refuses_itself_is_not_said_twice(recipe: Load, capsys: pytest.CaptureFixture[str]) -> None:
    before_training(recipe("model.path=/no/where", "train.learning_rate=1e-4"))
    before_training(recipe("data.train=[{source: jsonl, path: gone.jsonl}]", "train.learning_rate=1e-4"))
    assert capsys.readouterr().err == ""


def test_a_check_that_breaks_stops_no_training(recipe: Load, capsys: pytest.CaptureFixture[str]) -> None:
    before_training(recipe(), checks={"a": Check(look=broken, quick=True), "b": Check(look=refuses)})
    assert capsys.readouterr().err.startswith("warning   a: the check broke: ZeroDivisionError")


def states() -> list[Any]:
    """Of every generator, and the environment."""
    drawn = (random.getstate(), numpy.random.get_state(), torch.random.get_rng_state())
    return [*map(str, drawn), dict(os.environ)]


def test_the_quick_checks_draw_nothing_at_random_and_leave_no_trace(recipe: Load) -> None:
    made = recipe("adapter={kind: lora, r: 4, target_modules: all-linear}")
    before = states()
    before_training(made)
    assert states() == before


def test_the_checked_run_is_the_unchecked_one(recipe_file: Path) -> None:
    for name, more in (("checked", []), ("unchecked", ["--unchecked"])):
        words = ["train", str(recipe_file), "--run-dir", name, "eval.retain=[]", "train.save_strategy=no", *more]
        assert CliRunner().invoke(app, words).exit_code == 0
    losses = [
        [json.loads(line).get("train/loss") for line in Path(name, "metrics.jsonl").read_text().splitlines()]
        for name in ("checked", "unchecked")
    ]
    assert losses[0] == losses[1] and any(losses[0])


def test_shipped_recipes_warn_of_what_they_mean_to_do_only() -> None:
    """Forgetful's learning rate is far too high, and says so; no other shipped rate or schedule is remarked on."""
    remarked = {}
    for name in names():
        loaded = load_any(name)
        for run in [loaded] if isinstance(loaded, Recipe) else [stage.recipe for stage in loaded.stages]:
            found = CHECKS["learning rate"].look(Subject(run))
            if any(finding.state != "ok" for finding in found):
                remarked[name] = [finding.found for finding in found]
    assert list(remarked) == ["sft/forgetful"], remarked
    assert "high for full tuning" in remarked["sft/forgetful"][0]


def test_a_warning_needs_a_remedy() -> None:
    assert warn("a", "b").remedy


def test_what_is_drawn_at_random_is_drawn_as_the_run_draws_it(recipe: Load) -> None:
    """Rows of a new token, and a LoRA that begins at random: both are the run's, whatever was drawn before."""
    import transformers

    from trainers.arguments import training_arguments
    from trainers.assemble import trainer_of
    from trainers.models import load_model, load_tokenizer

    made = recipe("model.add_tokens=[<new>]", "adapter.kind=lora", "adapter.r=4", "train.seed=11", "eval.retain=[]")
    torch.manual_seed(123)
    subject = Subject(made)
    looked_at = {name: value.clone() for name, value in subject.model.state_dict().items()}
    again = {
        name: value.clone()
        for name, value in subject.trainer(subject.some_rows(2), subject.arguments()).model.state_dict().items()
    }
    rows = subject.some_rows(1)
    arguments, tokenizer = training_arguments(made), load_tokenizer(made.model)
    transformers.set_seed(arguments.seed)
    model = load_model(made.model, tokenizer)
    due = trainer_of(made, arguments, rows, tokenizer, model, {}).model.state_dict()
    subject.close()
    assert looked_at.keys() == again.keys() == due.keys()
    assert all(torch.equal(value, looked_at[name]) and torch.equal(value, again[name]) for name, value in due.items())
