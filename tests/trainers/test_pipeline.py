"""A pipeline: one folder, one axis, each run on the one before, retention against the first base, restart anywhere."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer

from launch import RecipeError
from launch.load import load, load_any
from tests.trainers.conftest import weights
from trainers import TrainError
from trainers.pipeline import train_pipeline
from trainers.recipe import Pipeline

FACTS = "{source: facts, people: 2, facts: 2}"
TARGET = "{{task: memorisation, name: {side}, goal: {goal}, sides: [{side}], people: 2, facts: 2, max_new_tokens: 4}}"
POCKET = "{task: pocket, variant: olmes_cf, shots: 0, limit: 12}"
Load = Callable[..., Pipeline]


def write_pipeline(folder: Path) -> Path:
    """Learn four facts in 3 steps with a LoRA, then unlearn in 2 steps, on the tiny model of `tiny.yaml`."""
    (folder / "learn.yaml").write_text(
        f"extends: tiny.yaml\nadapter: {{kind: lora, r: 4}}\ndata: {{train: [{FACTS}]}}\ntrain: {{max_steps: 3}}\n"
        f"eval:\n  target: [{TARGET.format(side='forget', goal='up')}]\n  retain: [{POCKET}]\n"
    )
    (folder / "forget.yaml").write_text(
        f"extends: tiny.yaml\nstage: unlearn\nmethod: {{name: npo}}\ndata: {{train: [{FACTS}]}}\n"
        f"train: {{max_steps: 2}}\n"
        f"eval:\n  every: 1\n  target: [{TARGET.format(side='forget', goal='down')}]\n"
        f"  retain: [{TARGET.format(side='retain', goal='up')}, {POCKET}]\n"
    )
    (folder / "both.yaml").write_text(
        "pipeline:\n  - {name: learn, recipe: learn.yaml}\n  - {name: forget, recipe: ./forget.yaml, "
        "set: {train: {learning_rate: 1e-3}}}\n"
    )
    return folder / "both.yaml"


@pytest.fixture
def pipeline(recipe_file: Path) -> Load:
    """That pipeline with words laid over it."""
    file = write_pipeline(recipe_file.parent)

    def made(*words: str) -> Pipeline:
        loaded = load_any(str(file), words)
        assert isinstance(loaded, Pipeline)
        return loaded

    return made


def summary(root: Path, step: int) -> dict[str, Any]:
    return json.loads((root / "evals" / f"step-{step}" / "summary.json").read_text())


@pytest.mark.usefixtures("reports")
def test_a_pipeline_is_one_folder_one_axis_and_one_report(pipeline: Load, capsys: pytest.CaptureFixture) -> None:
    assert train_pipeline(pipeline()) == 0
    root = Path("runs/both")
    assert sorted(folder.name for folder in root.glob("evals/*")) == ["step-0", "step-3", "step-4", "step-5"]
    assert sorted(folder.name for folder in root.glob("stages/*")) == ["1-learn", "2-forget"]
    assert json.loads((root / "status.json").read_text())["state"] == "done"
    assert [(s["name"], s["begin"], s["end"]) for s in json.loads((root / "pipeline.json").read_text())["stages"]] == [
        ("learn", 0, 3), ("forget", 3, 5)]  # fmt: skip
    lines = [json.loads(line) for line in (root / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "train/loss" in line] == [1, 2, 3, 4, 5]
    shown = capsys.readouterr().out
    assert "What each run did" in shown and "after learn" in shown and shown.count("Knowledge kept?") == 2
    page = (root / "report.html").read_text()
    assert "after forget" in page and (root / "report.png").stat().st_size > 10_000


def test_retention_is_against_the_first_base_and_a_target_against_its_runs_start(pipeline: Load) -> None:
    """Pocket is kept in both runs: step 0. The facts to retain are kept in the second only: step 3, as its target."""
    assert train_pipeline(pipeline()) == 0
    tasks = summary(Path("runs/both"), 5)["tasks"]
    assert {name: task["retention"]["baseline_step"] for name, task in tasks.items()} == {
        "forget": 3, "retain": 3, "pocket": 0}  # fmt: skip
    assert {task["prompt_hash"] for task in (tasks["pocket"], summary(Path("runs/both"), 0)["tasks"]["pocket"])} == {
        tasks["pocket"]["prompt_hash"]
    }
    seam = summary(Path("runs/both"), 3)["tasks"]
    assert seam["forget"]["goal"] == "up" and seam["retain"]["status"] == "ok" and "pocket" in seam


def test_the_second_run_starts_from_the_first_ones_adapter(pipeline: Load, tiny_folder: Path) -> None:
    """NPO's first loss is (2 / beta) ln 2 only where policy and reference are the same model: the merged one."""
    import math

    assert train_pipeline(pipeline()) == 0
    lines = [json.loads(line) for line in Path("runs/both/metrics.jsonl").read_text().splitlines()]
    forget = [line["train/loss_forget"] for line in lines if "train/loss_forget" in line]
    assert forget[0] == pytest.approx(20 * math.log(2), rel=1e-5)
    before, after = weights(tiny_folder), weights(Path("runs/both/stages/2-forget/checkpoints/checkpoint-2"))
    moved = max((before[key] - after[key]).abs().max().item() for key in after if key in before)
    assert moved > 0.01


@pytest.mark.soak
def test_a_pipeline_that_stopped_goes_on_where_it_stopped(pipeline: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second run crashes once; resumed, the first is not run again, and the end is that of an unbroken one."""
    from trainers.unlearn.trainer import Trainer

    assert train_pipeline(pipeline(), run_dir=Path("whole")) == 0
    real = Trainer.compute_loss

    def breaks(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("power cut")

    monkeypatch.setattr(Trainer, "compute_loss", breaks)
    assert train_pipeline(pipeline(), run_dir=Path("half")) == 4
    assert json.loads(Path("half/status.json").read_text())["state"] == "failed"
    first = Path("half/stages/1-learn/checkpoints/checkpoint-3/adapter_model.safetensors").stat().st_mtime_ns
    monkeypatch.setattr(Trainer, "compute_loss", real)
    assert train_pipeline(pipeline(), run_dir=Path("half"), resume=True) == 0
    assert Path("half/stages/1-learn/checkpoints/checkpoint-3/adapter_model.safetensors").stat().st_mtime_ns == first
    a, b = (weights(Path(run) / "stages/2-forget/checkpoints/checkpoint-2") for run in ("whole", "half"))
    assert all(torch.equal(a[key], b[key]) for key in a)


def test_a_run_killed_before_its_first_checkpoint_leaves_no_steps(
    pipeline: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second run ends in its step 2: resumed, the axis is 1 2 3 4 5, each step once; so with a changed length."""
    from trainers.unlearn.trainer import Trainer

    real, calls = Trainer.compute_loss, iter(range(99))

    def breaks(*args: Any, **kwargs: Any) -> Any:
        if next(calls):
            raise RuntimeError("power cut")
        return real(*args, **kwargs)

    root = Path("runs/both")
    once = ("pipeline.1.set.train.global_batch_size=1", "pipeline.1.set.train.save_strategy=steps",
            "pipeline.1.set.train.save_steps=2")  # fmt: skip
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "compute_loss", breaks)
        assert train_pipeline(pipeline(*once), run_dir=root) == 4
    assert trained_steps(root) == [1, 2, 3, 4]
    with pytest.raises(TrainError, match="--resume runs/both:STAGE starts anew") as caught:
        train_pipeline(pipeline(*once, *CHANGED_WHEN_DONE), run_dir=root, resume=True)
    assert all(said in str(caught.value) for said in CHANGED_WHEN_DONE.values())
    (root / "stages/1-learn").rename(root / "stages/1-study")
    with pytest.raises(TrainError, match="1-study is no stage of the recipe any more"):
        train_pipeline(pipeline(*once), run_dir=root, resume=True)
    (root / "stages/1-study").rename(root / "stages/1-learn")
    assert train_pipeline(pipeline(*once, "pipeline.1.set.train.max_steps=1"), run_dir=root, resume=True) == 0
    assert trained_steps(root) == [1, 2, 3, 4]
    assert (
        "train.max_steps: 2 -> 1"
        in json.loads((root / "stages/2-forget/status.json").read_text())["resumed"][0]["changed"]
    )
    assert list(root.glob("aside/*/recipe.resolved.json"))


CHANGED_WHEN_DONE = {
    "pipeline.0.set.train.learning_rate=1e-4": "train.learning_rate: 0.01 -> 0.0001",
    "pipeline.0.set.train.max_steps=9": "train.max_steps: 3 -> 9",
    "pipeline.0.set.data.seed=5": "data.seed: 0 -> 5",
}
"""Words for a stage that is done -> what is refused."""


def trained_steps(root: Path) -> list[int]:
    """Of metrics.jsonl, in its order."""
    lines = [json.loads(line) for line in (root / "metrics.jsonl").read_text().splitlines()]
    return [line["step"] for line in lines if "train/loss" in line]


def test_a_run_that_cannot_begin_is_told_and_goes_on_when_it_can(
    pipeline: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Something is wrong with the second run that no check before the first could see."""
    import trainers.pipeline

    real = trainers.pipeline.prepare

    def refuses(recipe: Any, *more: Any) -> Any:
        if recipe.stage == "unlearn":
            raise TrainError("no room")
        return real(recipe, *more)

    monkeypatch.setattr(trainers.pipeline, "prepare", refuses)
    with pytest.raises(TrainError, match="no room"):
        train_pipeline(pipeline(), run_dir=Path("half"))
    status = json.loads(Path("half/status.json").read_text())
    assert (status["state"], status["code"], status["error"]) == ("failed", 4, "stage forget: TrainError: no room")
    monkeypatch.setattr(trainers.pipeline, "prepare", real)
    assert train_pipeline(pipeline(), run_dir=Path("half"), resume=True) == 0


@pytest.mark.soak
def test_a_pipeline_restarts_at_any_stage_and_sets_aside_what_was_there(pipeline: Load) -> None:
    assert train_pipeline(pipeline()) == 0
    root = Path("runs/both")
    shutil.copytree(root, "before")
    again = pipeline("pipeline.1.set.train.learning_rate=1e-4")
    assert train_pipeline(again, run_dir=root, resume=True, again="forget") == 0
    old, new = (Path(run) / "stages/2-forget/checkpoints/checkpoint-2" for run in ("before", root))
    assert any(not torch.equal(value, weights(new)[key]) for key, value in weights(old).items())
    kept = weights(root / "aside/1-forget/stages/2-forget/checkpoints/checkpoint-2")
    assert all(torch.equal(value, kept[key]) for key, value in weights(old).items())
    steps = [json.loads(line)["step"] for line in (root / "metrics.jsonl").read_text().splitlines()
             if "train/loss" in line]  # fmt: skip
    assert steps == [1, 2, 3, 4, 5]
    with pytest.raises(TrainError, match="no stage 'polish'; there is: learn, forget"):
        train_pipeline(again, run_dir=root, resume=True, again="polish")


def test_a_later_runs_data_is_checked_before_the_first_one_trains(pipeline: Load) -> None:
    broken = pipeline("pipeline.1.set.data.train=[{source: jsonl, path: none.jsonl}]")
    with pytest.raises(TrainError, match=r"stage forget: .*none.jsonl"):
        train_pipeline(broken)
    assert not Path("runs/both").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pipeline: []", "is empty; write pipeline"),
        ("pipeline: sft", "a list of runs is due"),
        ("pipeline: [{name: a}]", "pipeline.0.recipe: missing"),
        ("pipeline: [{recipe: tiny.yaml}]", "pipeline.0.name: missing"),
        ("pipeline: [{name: a, recipe: nowhere.yaml}]", "no such file, and no shipped recipe"),
        ("pipeline: [{name: a, recipe: bad.yaml}]", "names itself, so it would never end"),
        ("pipeline: [{name: a, recipe: other.yaml}]", "is a pipeline itself; name its runs"),
        ("pipeline: [{name: a, recipe: tiny.yaml, sett: {}}]", "pipeline.0.sett: no such key; did you mean 'set'"),
        ("pipeline: [{name: a, recipe: tiny.yaml}, {name: a, recipe: tiny.yaml}]", "two runs are called 'a'"),
        ("pipeline: [{name: a b, recipe: tiny.yaml}]", "letters, digits, _ . . - only"),
        ("pipeline: [{name: a, recipe: tiny.yaml}]\nstage: sft", "stage: belongs to a run of the pipeline"),
        ("pipeline: [{name: a, recipe: tiny.yaml, set: {train: {max_stepps: 1}}}]", "did you mean 'max_steps'"),
        ("pipeline: [{name: a, recipe: tiny.yaml}, {name: b, recipe: tiny.yaml, set: {eval: {retain: "
         "[{task: pocket, variant: olmes_cf, shots: 0, limit: 5}]}}}]", "'pocket' is asked differently in a and in b"),
    ],
)  # fmt: skip
def test_a_pipeline_that_cannot_be_is_refused_with_its_place(recipe_file: Path, text: str, message: str) -> None:
    (recipe_file.parent / "bad.yaml").write_text(text + "\n")
    (recipe_file.parent / "other.yaml").write_text("pipeline: [{name: a, recipe: tiny.yaml}]\n")
    with pytest.raises(RecipeError, match=message):
        load_any(str(recipe_file.parent / "bad.yaml"))


def test_what_takes_one_run_says_so_of_a_pipeline(pipeline: Load, recipe_file: Path) -> None:
    with pytest.raises(RecipeError, match=r"a pipeline; name one of its runs: .*learn.yaml, .*forget.yaml"):
        load(str(recipe_file.parent / "both.yaml"))


def test_all_is_asked_with_the_first_bases_tokenizer_and_template(pipeline: Load) -> None:
    """The second run brings another template and new tokens: its own for training, the first base's for measuring."""
    asked = "{task: pocket, name: chat, variant: olmes_cf, shots: 0, limit: 4, chat_template: true}"
    other = "{% for m in messages %}<turn>{{ m.content }}{% endfor %}"
    words = [f"pipeline.{i}.set.eval.retain=[{asked}]" for i in (0, 1)]
    new = [f"pipeline.1.set.model.chat_template='{other}'", "pipeline.1.set.model.add_tokens=['<turn>']"]
    assert train_pipeline(pipeline(*words, *new)) == 0
    root = Path("runs/both")
    hashes = {summary(root, step)["tasks"]["chat"]["prompt_hash"] for step in (0, 3, 4, 5)}
    first = summary(root, 5)["tasks"]["chat"]
    assert len(hashes) == 1 and first["retention"]["baseline_step"] == 0
    assert "<|im_start|>assistant" in first["first_prompt"] and "<turn>" not in first["first_prompt"]
    saved, last = (
        AutoTokenizer.from_pretrained(folder)
        for folder in (root / "eval_tokenizer", root / "stages/2-forget/checkpoints/checkpoint-2")
    )
    assert last.chat_template == other and saved.chat_template != other
    assert len(last) == len(saved) + 1


def test_a_resumed_run_is_asked_as_it_began(recipe: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """The template is edited in between; the second half is still measured with the first one's."""
    from trainers.run import train

    word = "eval.retain=[{task: pocket, variant: olmes_cf, shots: 0, limit: 4, chat_template: true}]"
    assert train(recipe(word, "train.max_steps=2", "train.save_steps=2", "eval.every=2"), run_dir=Path("one")) == 0
    edited = "model.chat_template='{% for m in messages %}{{ m.content }}{% endfor %}'"
    Path("one/recipe.resolved.json").unlink()  # what would refuse an edited template
    assert train(recipe(word, edited, "eval.every=2"), run_dir=Path("one"), resume=True) == 0
    hashes = {summary(Path("one"), step)["tasks"]["pocket"]["prompt_hash"] for step in (0, 2, 4)}
    assert len(hashes) == 1
