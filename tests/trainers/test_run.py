"""A run's folder, states and exit codes, on a tiny model: what is there afterwards, and what is never left behind."""

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoModelForCausalLM

import trainers.run
from data_mix import DataError
from eval_hooks import EvalError
from eval_hooks.files import whole_checkpoints
from eval_hooks.table import read_table
from trainers import TrainError
from trainers.cache import cache_dir
from trainers.recipe import Recipe
from trainers.run import train
from trainers.sft.trainer import Trainer

Load = Callable[..., Recipe]


def status(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "status.json").read_text())


@pytest.mark.usefixtures("reports")
def test_a_run_leaves_everything_it_promises(recipe: Load, recipe_file: Path, capsys: pytest.CaptureFixture) -> None:
    assert train(recipe("eval.every=2", "adapter.kind=lora", "adapter.r=2")) == 0
    run = Path("runs/tiny")
    assert (run / "recipe.yaml").read_text().endswith(recipe_file.read_text())
    assert "# eval.every=2" in (run / "recipe.yaml").read_text()
    resolved = json.loads((run / "recipe.resolved.json").read_text())
    assert resolved["arguments"]["gradient_accumulation_steps"] == 1
    assert status(run)["state"] == "done" and status(run)["code"] == 0
    assert {"torch", "trl", "deepspeed"} <= json.loads((run / "environment.json").read_text())["packages"].keys()
    assert json.loads((run / "data.manifest.json").read_text())["train"]["jsonl"]["rows"] == 16
    assert sorted(f.name for f in run.glob("evals/*")) == ["step-0", "step-2", "step-4"]
    assert (run / "report.html").stat().st_size and (run / "report.png").stat().st_size
    last = run / "checkpoints" / "checkpoint-4"
    assert (last / "adapter_model.safetensors").is_file()
    AutoModelForCausalLM.from_pretrained(last)
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "train/loss" in line] == [1, 2, 3, 4]
    shown = capsys.readouterr()
    assert "Knowledge kept?" in shown.out
    assert "adapter   lora on q_proj x 2" in shown.err and "parameters trained (" in shown.err


def test_runs_are_numbered_when_a_name_is_taken(recipe: Load) -> None:
    assert [train(recipe("train.max_steps=1", "eval.retain=[]")) for _ in range(2)] == [0, 0]
    assert sorted(folder.name for folder in Path("runs").iterdir()) == ["tiny", "tiny-2"]


def test_a_used_run_folder_is_refused_and_untouched(recipe: Load, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("precious")
    with pytest.raises(TrainError, match="not empty; --resume goes on with it"):
        train(recipe(), run_dir=tmp_path / "mine")
    assert [f.name for f in (tmp_path / "mine").iterdir()] == ["notes.txt"]


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        (["data.train.0.path=none.jsonl"], DataError, "none.jsonl"),
        (["train.max_length=3"], DataError, "none of 16 rows can be trained on"),
        (["model.path=none/there"], TrainError, "none/there"),
        (
            ["train.global_batch_size=10", "train.per_device_train_batch_size=8"],
            TrainError,
            "do not divide into micro-batches of 8",
        ),
        (["eval.retain.0.subjects=[cooking]"], EvalError, "cooking"),
        (["eval.retain.0.shots=9"], EvalError, "5 dev rows, shots is 9"),
        (["adapter.kind=qlora"], TrainError, "needs a GPU and bitsandbytes"),
        (["model.dtype=bfloat16"], TrainError, "loses small updates"),
        (["model.eos_token=<|none|>"], TrainError, "<|none|>"),
        (['model.chat_template="{% if %}"'], TrainError, "template"),
    ],
)
def test_a_request_that_cannot_be_leaves_no_run_folder(
    recipe: Load, words: list[str], error: type, message: str
) -> None:
    import re

    with pytest.raises(error, match=re.escape(message)):
        train(recipe(*words))
    assert not list(Path("runs").glob("*"))


def test_a_crash_in_training_is_code_4_with_its_traceback(recipe: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("the card fell off the bus")

    monkeypatch.setattr(Trainer, "compute_loss", breaks)
    assert train(recipe("eval.retain=[]")) == 4
    run = Path("runs/tiny")
    assert status(run)["state"] == "failed" and status(run)["code"] == 4
    assert "card fell off the bus" in status(run)["error"]
    assert "compute_loss" in (run / "traceback.txt").read_text() or "breaks" in (run / "traceback.txt").read_text()


def test_the_keyboard_ends_a_run_with_code_130(recipe: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    def stops(*args: Any, **kwargs: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Trainer, "compute_loss", stops)
    before = signal.getsignal(signal.SIGINT)
    assert train(recipe("eval.retain=[]")) == 130
    assert signal.getsignal(signal.SIGINT) is before
    assert status(Path("runs/tiny"))["state"] == "interrupted"


def test_a_signal_that_reaches_a_rank_after_the_others_is_an_echo(
    recipe: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another rank had it in the first step; this one gets it when training is over and ranks still speak with each other."""
    save_state = Trainer.save_state

    def late(trainer: Trainer) -> None:
        save_state(trainer)
        signal.raise_signal(signal.SIGTERM)

    def leave(number: int, frame: object) -> None:
        raise SystemExit(9)

    monkeypatch.setattr(Trainer, "save_state", late)
    monkeypatch.setattr("trainers.signals.highest", lambda value, device: 143)
    before = signal.signal(signal.SIGTERM, leave)
    try:
        assert train(recipe("eval.retain=[]")) == 143
        assert signal.getsignal(signal.SIGTERM) is leave
    finally:
        signal.signal(signal.SIGTERM, before)
    run = Path("runs/tiny")
    assert (status(run)["state"], status(run)["code"]) == ("interrupted", 143)
    assert "--resume goes on" in status(run)["error"] and list(whole_checkpoints(run)) == [1]


@pytest.mark.usefixtures("reports")
def test_a_budget_that_is_crossed_ends_with_code_3_and_a_report(recipe: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    """The callback's own test shows when a loss counts as proven; here it is declared proven at step 2."""
    monkeypatch.setattr(
        "eval_hooks.callback.crossed", lambda budget, summary: ["pocket: accuracy fell"] if summary["step"] else []
    )
    assert train(recipe("eval.every=2", "eval.budget={accuracy_drop: 0.02, action: stop}")) == 3
    run = Path("runs/tiny")
    assert (status(run)["state"], status(run)["reason"]) == ("stopped", "pocket: accuracy fell")
    assert not (run / "evals" / "step-4").exists() and (run / "report.html").is_file()


def test_a_disk_that_refuses_is_said_before_anything_is_trained(recipe: Load, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TrainError, match="run folder .*name a writable one with --run-dir"):
        train(recipe(), run_dir=tmp_path / "file" / "run")


def test_resume_goes_on_from_the_newest_checkpoint(recipe: Load) -> None:
    """4 steps unbroken = 2 steps, then 2 more: same weights, one curve, step 0 not measured again."""
    import torch

    from tests.trainers.conftest import weights

    words = ("train.save_strategy=steps", "train.save_steps=2")
    assert train(recipe(*words), run_dir=Path("whole")) == 0
    seen = trainers.run.last_checkpoint(Path("whole"))
    assert seen is not None and seen.endswith("checkpoint-4")
    import shutil

    shutil.copytree("whole", "half")
    shutil.rmtree("half/checkpoints/checkpoint-4")
    shutil.rmtree("half/evals/step-4")
    base = Path("half/evals/step-0/summary.json").stat().st_mtime_ns
    assert train(recipe(*words), run_dir=Path("half"), resume=True) == 0
    a, b = (weights(Path(run) / "checkpoints" / "checkpoint-4") for run in ("whole", "half"))
    assert all(torch.equal(a[key], b[key]) for key in a)
    assert Path("half/evals/step-0/summary.json").stat().st_mtime_ns == base
    assert Path("half/evals/step-4/summary.json").is_file()


def test_a_base_is_scored_once_for_all_runs_from_it(recipe: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second run finds step 0's table; other prompts, other arithmetic or other weights are measured.

    A base that is not known is scored twice, for the noise floor; what follows the end of training once.
    """
    from eval_hooks.tasks.kinds import choice

    measured: list[int] = []
    real = choice.score

    def counting(model: Any, *args: Any, **kwargs: Any) -> Any:
        measured.append(1)
        return real(model, *args, **kwargs)

    monkeypatch.setattr(choice, "score", counting)
    lora = ("adapter.kind=lora", "adapter.r=2", "train.max_steps=1")
    for name, words, times in (
        ("first", (), 3),
        ("again", ("train.learning_rate=1e-3",), 1),
        ("spoilt", (), 3),
        ("fewer", ("eval.retain.0.limit=19",), 3),
        ("bf16", ("train.bf16=true",), 3),
        ("other", ("model.path=first:1",), 3),
        ("warm", ("adapter.init_lora_weights=false",), 3),
    ):
        measured.clear()
        if name == "spoilt":  # a table that cannot be read is made anew
            for file in cache_dir().glob("tables/*"):
                file.write_bytes(b"PAR1")
        assert train(recipe(*lora, *words), run_dir=Path("runs") / name) == 0
        assert len(measured) == times, name
    tables = [read_table(Path(f"runs/{name}/evals/step-0/pocket.parquet")) for name in ("first", "again")]
    assert tables[0].equals(tables[1])
