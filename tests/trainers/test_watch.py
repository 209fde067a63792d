"""A watcher gives the run's own numbers, each once, from the folder alone, whatever happens to the folder meanwhile."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

import trainers.models
import trainers.watch
from eval_hooks.claims import STALE_S
from eval_hooks.evaluate import autocast
from eval_hooks.files import mark_whole
from launch.cli import app
from launch.load import load, load_any
from launch.plan import plan
from launch.reread import watched
from tests.trainers.conftest import RECIPE, runs_in, write_rows
from tests.trainers.test_pipeline import write_pipeline
from trainers import TrainError
from trainers.pipeline import train_pipeline
from trainers.recipe import Pipeline
from trainers.run import train
from trainers.rundir import set_status
from trainers.watch import watch
from trainers.watched import as_trained

ROOT = Path(__file__).parents[2]
HELD_OUT = ("eval.every=1", "train.save_total_limit=9", "data.validation=[{from: train, fraction: 0.2}]")
TASKS = (*HELD_OUT, "train.max_steps=2")
LOSS = (*HELD_OUT, "eval.retain=[]")
"""Only a held-out loss, which is measured in no time."""
SECOND = "{task: pocket, name: second, variant: lm_eval, shots: 0, limit: 8}"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, tiny_folder: Path) -> Iterator[Path]:
    """A folder with the tiny recipe, and a cache that no watcher of these tests sees."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "tiny.yaml").write_text(RECIPE.format(model=tiny_folder, data=write_rows(folder / "rows.jsonl")))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TEMPERING_CACHE", str(folder / "cache"))
        yield folder


@pytest.fixture(scope="module")
def runs(home: Path) -> Callable[..., Path]:
    """A finished run of the tiny recipe with the words laid over it; made once."""
    return runs_in(home)


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """A report takes longer than all else here; the test that reads one takes it back."""
    monkeypatch.setattr(trainers.watch, "write_report", lambda folder: None)
    monkeypatch.setattr(trainers.watch, "print_screen", lambda folder: None)


@pytest.fixture
def copy(
    runs: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[Path, Path]]:
    """A finished run, and a copy of it without its evaluations (but for the steps in `keep`), on an empty cache."""

    def made(*words: str, keep: Sequence[int] = ()) -> tuple[Path, Path]:
        whole = runs(*(words or LOSS))
        bare = without_evaluations(whole, tmp_path / "bare", keep)
        monkeypatch.setenv("TEMPERING_CACHE", str(tmp_path / "cache"))
        return whole, bare

    return made


def without_evaluations(whole: Path, bare: Path, keep: Sequence[int] = ()) -> Path:
    shutil.copytree(whole, bare)
    for folder in bare.glob("evals/step-*"):
        if int(folder.name.removeprefix("step-")) not in keep:
            shutil.rmtree(folder)
    (bare / "metrics.jsonl").unlink()
    return bare


def watch_once(folder: Path, *words: str) -> int:
    """What `temper watch FOLDER --once` does, in this process."""
    where, recipe = watched(str(folder), words)
    return watch(recipe, where, once=True, poll_s=0.1)


def untimed(value: Any) -> Any:
    """Without the keys that say how long something took."""
    timing = ("time", "seconds", "seconds_saved", "cost", "foreseen")
    if isinstance(value, dict):
        return {k: untimed(v) for k, v in value.items() if k.rpartition("/")[2] not in timing}
    return [untimed(item) for item in value] if isinstance(value, list) else value


def summaries(folder: Path) -> dict[str, Any]:
    return {f.parent.name: untimed(json.loads(f.read_text())) for f in folder.glob("evals/step-*/summary.json")}


def logged(folder: Path) -> list[dict[str, Any]]:
    """The evaluations in metrics.jsonl, as written, in order of step."""
    lines = [untimed(json.loads(line)) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    found = [line for line in lines if any(key.startswith(("eval/", "val/")) for key in line)]
    return sorted(found, key=lambda line: line["step"])


def steps(folder: Path) -> list[int]:
    return sorted(int(name.removeprefix("step-")) for name in summaries(folder))


@pytest.mark.parametrize(
    "words",
    [
        pytest.param((), id="full", marks=pytest.mark.soak),
        pytest.param(("adapter={kind: lora, r: 4}",), id="lora", marks=pytest.mark.soak),
        pytest.param(("train.bf16=true",), id="bf16"),
        pytest.param(("adapter={kind: lora, r: 4}", "model.add_tokens=[<x>]"), id="lora and new tokens"),
    ],
)
def test_a_watcher_gives_the_numbers_that_the_run_gave(copy: Callable[..., Any], words: tuple[str, ...]) -> None:
    """All evaluations are removed, the start's as well: files, keys and numbers come out as before."""
    whole, bare = copy(*TASKS, *words)
    assert watch_once(bare) == 0
    assert steps(whole) == [0, 1, 2]
    assert summaries(bare) == summaries(whole) and logged(bare) == logged(whole)
    tables = sorted(file.relative_to(whole) for file in whole.glob("evals/*/*"))
    assert tables == sorted(file.relative_to(bare) for file in bare.glob("evals/*/*")) and len(tables) == 9
    assert not list(bare.glob("evals/.*"))


def test_what_the_run_measured_itself_stays(
    copy: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """Steps 0 and 2 are there; after the rest the report is written again."""
    monkeypatch.undo()
    _, bare = copy(keep=[0, 2])
    before = {step: (bare / f"evals/step-{step}/summary.json").stat().st_mtime_ns for step in (0, 2)}
    report = (bare / "report.html").stat().st_mtime_ns
    assert watch_once(bare) == 0
    assert before == {step: (bare / f"evals/step-{step}/summary.json").stat().st_mtime_ns for step in (0, 2)}
    assert [line["step"] for line in logged(bare)] == [1, 3, 4]
    assert (bare / "report.html").stat().st_mtime_ns > report
    shown = capsys.readouterr()
    assert "step 3    val held_out " in shown.err and "step 0 to 4" in shown.out


def test_another_task_joins_what_is_there(copy: Callable[..., Any]) -> None:
    """The run's own entries stay to the letter; the new task is paired with the start, which gets it first."""
    whole, bare = copy(*TASKS, keep=range(3))
    assert watch_once(bare, f"eval.retain=[{SECOND}]") == 0
    for name, summary in summaries(bare).items():
        tasks = summary["tasks"]
        assert tasks["pocket"] == summaries(whole)[name]["tasks"]["pocket"]
        assert tasks["second"]["n"] == 8 and bool(tasks["second"]["retention"]) == (name != "step-0")


def test_a_checkpoint_counts_only_when_it_is_whole(copy: Callable[..., Any]) -> None:
    """Without complete.json, which is written last, or with half of a file, a checkpoint is not touched; then it is."""
    _, bare = copy(keep=[0, 1, 2])
    files = [bare / "checkpoints/checkpoint-3/complete.json", bare / "checkpoints/checkpoint-4/trainer_state.json"]
    texts = [file.read_text() for file in files]
    files[0].unlink()
    files[1].write_text(texts[1][: len(texts[1]) // 2])
    assert watch_once(bare) == 0
    assert steps(bare) == [0, 1, 2]
    for file, text in zip(files, texts, strict=True):
        file.write_text(text)
    assert watch_once(bare) == 0
    assert steps(bare) == [0, 1, 2, 3, 4]


def test_a_checkpoint_that_goes_while_it_is_loaded_is_said_and_skipped(
    copy: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """The run's rotation deletes checkpoint 1 once it is being loaded, and checkpoint 2 before its turn comes."""
    _, bare = copy(keep=[0])
    real = trainers.models.load_model

    def rotated(section: Any, *args: Any, **kwargs: Any) -> Any:
        for step in (1, 2):
            shutil.rmtree(bare / f"checkpoints/checkpoint-{step}", ignore_errors=True)
        return real(section, *args, **kwargs)

    monkeypatch.setattr(trainers.models, "load_model", rotated)
    assert watch_once(bare) == 0
    shown = capsys.readouterr().err
    assert all(f"step {step}    skipped: gone: the run deleted it" in shown for step in (1, 2))
    assert steps(bare) == [0, 3, 4]


def test_a_checkpoint_of_shards_only_is_said_and_skipped(
    copy: Callable[..., Any], capsys: pytest.CaptureFixture
) -> None:
    """ZeRO-3 without stage3_gather_16bit_weights_on_model_save: `latest` and shards, no weights to load."""
    _, bare = copy(keep=[0, 1, 2])
    (bare / "checkpoints/checkpoint-3/model.safetensors").unlink()
    (bare / "checkpoints/checkpoint-3/latest").write_text("global_step3")
    mark_whole(bare / "checkpoints/checkpoint-3", 3, ranks=1)
    assert watch_once(bare) == 0
    assert "step 3    skipped: its weights are DeepSpeed's shards only" in capsys.readouterr().err
    assert steps(bare) == [0, 1, 2, 4]


def test_weights_that_are_there_and_cannot_be_read_are_no_rotation(copy: Callable[..., Any]) -> None:
    _, bare = copy(keep=[0])
    (bare / "checkpoints/checkpoint-1/model.safetensors").write_bytes(b"not weights")
    mark_whole(bare / "checkpoints/checkpoint-1", 1, ranks=1)
    with pytest.raises(Exception, match="(?i)header|safetensors|deserializ"):
        watch_once(bare)
    assert not list(bare.glob("evals/.*"))


def command(folder: Path, *options: str) -> subprocess.Popen[str]:
    """`temper watch FOLDER` in a process of its own."""
    words = [sys.executable, "-m", "launch", "watch", str(folder), "--poll", "0.2", *options]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}

    def hear() -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a job in the background begins with it ignored

    return subprocess.Popen(words, cwd=folder.parent, env=env, stderr=subprocess.PIPE, text=True, preexec_fn=hear)


def test_what_the_run_measures_in_waves_a_watcher_measures_whole(copy: Callable[..., Any]) -> None:
    whole, bare = copy("eval.order=waves", "eval.every=2", "eval.margin=0.3", "eval.retain.0.limit=80")
    assert watch_once(bare) == 0
    ends = [summaries(folder)["step-2"]["tasks"]["pocket"] for folder in (whole, bare)]
    assert [(end["status"], end["n"] == end["of"]) for end in ends] == [("stopped_early", False), ("ok", True)]


def test_two_watchers_at_once_measure_everything_once(copy: Callable[..., Any]) -> None:
    whole, bare = copy()
    watchers = [command(bare, "--once") for _ in range(2)]
    said = [watcher.communicate(timeout=240)[1] for watcher in watchers]
    assert [watcher.returncode for watcher in watchers] == [0, 0], said
    assert [line["step"] for line in logged(bare)] == [0, 1, 2, 3, 4]
    assert sum(int(text.split("evaluations made: ")[1][0]) for text in said) == 5
    assert summaries(bare) == summaries(whole) and not list(bare.glob("evals/.*"))


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_gives_the_claim_back(copy: Callable[..., Any], number: signal.Signals, code: int) -> None:
    """It comes while a step is being measured."""
    _, bare = copy()
    watcher = command(bare)
    for _ in range(6000):
        if list(bare.glob("evals/.*.claim")) or watcher.poll() is not None:
            break
        time.sleep(0.01)
    watcher.send_signal(number)
    said = watcher.communicate(timeout=60)[1]
    assert watcher.returncode == code, said
    assert not list(bare.glob("evals/.*")) and len(steps(bare)) < 5


def test_a_step_that_another_holds_is_waited_for_and_then_taken_over(
    copy: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """Step 2 is claimed by a watcher on another machine; the rest is measured, and the holder goes silent."""
    _, bare = copy(keep=[0])
    claim = bare / "evals/.step-2.0.claim"
    claim.write_text(json.dumps({"host": "elsewhere", "pid": 7}))
    waited: list[list[int]] = []

    def sleep(seconds: float) -> None:
        waited.append(steps(bare))
        os.utime(claim, (time.time() - STALE_S - 1,) * 2)

    monkeypatch.setattr(trainers.watch.time, "sleep", sleep)
    assert watch_once(bare) == 0
    assert waited == [[0, 1, 3, 4]] and steps(bare) == [0, 1, 2, 3, 4]
    assert "step 2    held by process 7 on elsewhere" in capsys.readouterr().err
    assert not list(bare.glob("evals/.*"))


def test_what_another_finished_meanwhile_is_not_measured_again(
    copy: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between looking and claiming, step 3 gets its summary from elsewhere."""
    whole, bare = copy(keep=[0, 1, 2, 4])
    real = trainers.watch.claimed

    def late(folder: Path, name: str) -> Any:
        shutil.copytree(whole / "evals" / name, folder / name)
        return real(folder, name)

    monkeypatch.setattr(trainers.watch, "claimed", late)
    assert watch_once(bare) == 0
    assert not (bare / "metrics.jsonl").exists() and not list(bare.glob("evals/.*"))


def test_it_goes_on_until_the_run_is_over(copy: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """A run in another process: a checkpoint more at every look, then it is done; nothing is left."""
    _, bare = copy(keep=[0])
    set_status(bare, "interrupted")
    coming = [bare / f"checkpoints/checkpoint-{step}" for step in (1, 2, 3, 4)]
    for folder in coming:
        folder.rename(bare / folder.name)
    waited: list[float] = []

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        if coming:
            (bare / coming[0].name).rename(coming.pop(0))
        else:
            set_status(bare, "done", 0)

    monkeypatch.setattr(trainers.watch.time, "sleep", sleep)
    folder, recipe = watched(str(bare))
    assert watch(recipe, folder, poll_s=7.0) == 0
    assert steps(bare) == [0, 1, 2, 3, 4] and waited == [7.0] * 5


def test_a_run_at_work_measures_its_own_steps_itself(copy: Callable[..., Any]) -> None:
    """Evaluations every 2 steps, checkpoints at each: the watcher takes 1 and 3; once the run is killed, the rest."""
    _, bare = copy(*LOSS, "eval.every=2", "train.save_strategy=steps", "train.save_steps=1", keep=[0])
    set_status(bare, "running")
    assert watch_once(bare) == 0
    assert steps(bare) == [0, 1, 3]
    gone = subprocess.Popen(["true"])
    gone.wait()
    status = json.loads((bare / "status.json").read_text())
    (bare / "status.json").write_text(json.dumps({**status, "pid": gone.pid}))
    assert watch_once(bare) == 0
    assert steps(bare) == [0, 1, 2, 3, 4]


def test_a_run_can_leave_all_measuring_to_a_watcher(
    runs: Callable[..., Path], home: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """`eval.live: false`: the run keeps every checkpoint and measures nothing; a watcher gives what it would have."""
    words = (*(word for word in LOSS if "save_total_limit" not in word), "eval.live=false")
    recipe = load(str(home / "tiny.yaml"), words)
    assert "eval      left to temper watch" in plan(recipe)
    assert train(recipe, run_dir=tmp_path / "run") == 0
    assert not (tmp_path / "run" / "evals").exists()
    assert f"temper watch {tmp_path / 'run'}" in capsys.readouterr().err
    assert watch_once(tmp_path / "run") == 0
    assert summaries(tmp_path / "run") == summaries(runs(*LOSS))


@pytest.mark.soak
def test_a_pipeline_is_watched_as_one_folder(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two runs, one axis: the seam, the base each task is paired with, and the second run's start come out as before."""
    pipeline = load_any(str(write_pipeline(home)))
    assert isinstance(pipeline, Pipeline)
    whole = tmp_path / "whole"
    assert train_pipeline(pipeline, run_dir=whole) == 0
    bare = without_evaluations(whole, tmp_path / "bare")
    monkeypatch.setenv("TEMPERING_CACHE", str(tmp_path / "cache"))
    assert watch_once(bare) == 0
    assert steps(bare) == [0, 3, 4, 5] and summaries(bare) == summaries(whole)


def test_a_limit_that_is_crossed_is_said_and_logged_and_no_more(
    copy: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """The budget would stop the run at step 2; the watcher goes on."""

    def proven(budget: Any, summary: Any) -> list[str]:
        return ["pocket: accuracy fell"] if summary["step"] == 2 else []

    _, bare = copy(*LOSS, "eval.budget={accuracy_drop: 0.02, action: stop}", keep=[0])
    for module in ("eval_hooks.callback", "trainers.watch"):
        monkeypatch.setattr(f"{module}.crossed", proven)
    assert watch_once(bare) == 0
    shown = capsys.readouterr().err
    assert "a watcher cannot act on the run" in shown and "budget    crossed: pocket: accuracy fell" in shown
    lines = [json.loads(line) for line in (bare / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "budget/crossed" in line] == [2] and steps(bare) == [0, 1, 2, 3, 4]


def test_held_out_rows_that_changed_since_are_left_out(
    copy: Callable[..., Any], home: Path, capsys: pytest.CaptureFixture
) -> None:
    """A loss over other rows is no point of the same curve."""
    _, bare = copy(*TASKS, keep=[0])
    rows = home / "rows.jsonl"
    before = rows.read_text()
    try:
        rows.write_text(before.replace("Count", "Reckon"))
        assert watch_once(bare) == 0
    finally:
        rows.write_text(before)
    assert "the loss of held_out is left out: its rows are no longer those of the run" in capsys.readouterr().err
    assert summaries(bare)["step-2"]["tasks"] and not summaries(bare)["step-2"]["validation"]


def not_a_run(folder: Path) -> Path:
    return folder / "checkpoints"


def without_checkpoints(folder: Path) -> Path:
    shutil.rmtree(folder / "checkpoints")
    return folder


def with_half_a_recipe(folder: Path) -> Path:
    file = folder / "recipe.resolved.json"
    file.write_text(file.read_text()[:99])
    return folder


def with_a_wrong_recipe(folder: Path) -> Path:
    file = folder / "recipe.resolved.json"
    file.write_text(file.read_text().replace('"stage": "sft"', '"stage": "sfft"'))
    return folder


def as_a_stage(folder: Path) -> Path:
    return shutil.copytree(folder, folder / "stages" / "1-learn")


@pytest.mark.parametrize(
    ("harm", "words", "said"),
    [
        (not_a_run, [], "no run folder (a folder with recipe.resolved.json)"),
        (without_checkpoints, [], "the run is over and kept no checkpoint"),
        (with_half_a_recipe, [], "the run's recipe cannot be read back"),
        (with_a_wrong_recipe, [], "did you mean 'sft'?"),
        (as_a_stage, [], "one run of a pipeline; name the pipeline"),
        (Path, ["train.max_steps=9"], "'train.max_steps=9' cannot be set any more"),
        (Path, ["data.validation=[]"], "the recipe measures nothing; name a task"),
        (Path, ["eval.retain=[{task: pocket, nmae: x}]"], "no such key"),
    ],
)
def test_a_wrong_request_is_code_2_and_measures_nothing(
    copy: Callable[..., Any], harm: Callable[[Path], Path], words: list[str], said: str
) -> None:
    _, bare = copy()
    done = CliRunner().invoke(app, ["watch", str(harm(bare)), "--once", *words])
    assert done.exit_code == 2 and said in done.output
    assert not summaries(bare) and not list(bare.glob("evals/.*"))


def test_a_task_of_the_run_cannot_be_asked_in_another_way(copy: Callable[..., Any]) -> None:
    _, bare = copy(*TASKS)
    done = CliRunner().invoke(app, ["watch", str(bare), "--once", "eval.retain.0.limit=5"])
    assert done.exit_code == 2
    assert (
        "'pocket' is a task that the run asks in another way; give it another: {task: pocket, name: pocket2"
        in done.output
    )


def test_a_run_in_fp16_is_watched_on_a_gpu_only(copy: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    _, bare = copy()
    file = bare / "recipe.resolved.json"
    file.write_text(file.read_text().replace('"fp16": false', '"fp16": true'))
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(TrainError, match="computes in fp16, which needs a GPU"):
        watch_once(bare)
    assert not summaries(bare)


def test_under_deepspeed_the_weights_are_cast_and_elsewhere_the_forward_pass(tiny: Any) -> None:
    """As the trainer had it: DeepSpeed's engine keeps 16-bit weights and no autocast."""
    words = {"bf16": True, "fp16": False}
    plain = as_trained(deepcopy(tiny), SimpleNamespace(**words, deepspeed=None))
    engine = as_trained(deepcopy(tiny), SimpleNamespace(**words, deepspeed="zero2.json"))
    assert autocast(SimpleNamespace(**words, deepspeed=None)) == "bfloat16"
    assert autocast(SimpleNamespace(**words, deepspeed="zero2.json")) is None
    assert {p.dtype for p in plain.parameters()} == {torch.float32}
    assert {p.dtype for p in engine.parameters()} == {torch.bfloat16}
    ids = torch.arange(8)[None]
    whole = tiny(ids).logits
    apart = [(model(ids).logits.float() - whole).abs().max() for model in (plain, engine)]
    assert 0 < apart[0] < 0.1 and 0 < apart[1] < 0.1
