"""A certificate says that a checkpoint is what was measured, and any file that is not it says so."""

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer
from typer.testing import CliRunner

import eval_hooks.report
from launch.certified import checkpoint_of
from launch.cli import app
from launch.load import load
from tests.trainers.conftest import RECIPE, runs_in, write_rows
from trainers import TrainError
from trainers.certify import certify, tokens_apart
from trainers.run import train

COMMON = ("eval.retain=[{task: pocket, variant: olmes_cf, shots: 0, limit: 120}]", "eval.every=1",
          "train.max_steps=2", "train.save_total_limit=9")  # fmt: skip
LORA = (*COMMON, "adapter={kind: lora, r: 4}")
KINDS = {
    "full": COMMON,
    "lora": LORA,
    "bf16": (*COMMON, "train.bf16=true"),
    "bf16 weights": (*COMMON, "model.dtype=bfloat16", "model.force_bf16_weights=true"),
    "lora and new tokens": (*LORA, "model.add_tokens=[<x>]"),
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, tiny_folder: Path) -> Iterator[Path]:
    """A folder with the tiny recipe and a cache, for all tests here; no report is drawn."""
    folder = tmp_path_factory.mktemp("home")
    shutil.copytree(tiny_folder, folder / "base")
    (folder / "tiny.yaml").write_text(RECIPE.format(model=folder / "base", data=write_rows(folder / "rows.jsonl")))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TEMPERING_CACHE", str(folder / "cache"))
        patch.setattr(eval_hooks.report, "write_report", lambda folder: [])
        yield folder


@pytest.fixture(scope="module")
def runs(home: Path) -> Callable[..., Path]:
    """A finished run of the tiny recipe with the words laid over it; made once."""
    return runs_in(home)


@pytest.fixture
def copy(runs: Callable[..., Path], tmp_path: Path) -> Callable[..., Path]:
    """The last checkpoint of a copy of a run, to be spoilt."""

    def made(*words: str) -> Path:
        shutil.copytree(runs(*words), tmp_path / "run")
        return tmp_path / "run/checkpoints/checkpoint-2"

    return made


@pytest.fixture(scope="module")
def certified(runs: Callable[..., Path], home: Path) -> Callable[..., Path]:
    """The last checkpoint of a copy of a run, with its certificate; made once and copied again."""
    made: dict[Sequence[str], Path] = {}

    def checkpoint(to: Path, *words: str) -> Path:
        if words not in made:
            made[words] = home / f"certified{len(made)}"
            shutil.copytree(runs(*words), made[words])
            assert temper("certify", made[words] / "checkpoints/checkpoint-2")[0] == 0
        shutil.copytree(made[words], to)
        return to / "checkpoints/checkpoint-2"

    return checkpoint


def temper(*words: object) -> tuple[int, str]:
    done = CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": "240"})
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.output


def rows(folder: Path) -> dict[str, dict[str, Any]]:
    return {row["form"]: row for row in json.loads((folder / "certificate.json").read_text())["rows"]}


@pytest.mark.parametrize("kind", KINDS)
def test_a_checkpoint_is_bit_for_bit_what_the_trainer_measured(copy: Callable[..., Path], kind: str) -> None:
    """Reloaded: a difference of 0, tolerance 0. Merged: only what the order of sums makes. 8 bits move less than 4."""
    folder = copy(*KINDS[kind])
    code, said = temper("certify", folder)
    made = rows(folder)
    assert code == 0, said
    assert made["reloaded"]["largest"] == made["reloaded"]["tolerance"] == 0.0 and made["reloaded"]["flips"] == 0
    assert ("merged" in made) == ("lora" in kind)
    assert made["8bit"]["largest"] > 0 and made["4bit"]["largest"] > 0
    assert made["8bit"]["mean"] < made["4bit"]["mean"]


def scaled(folder: Path, name: str, part: str, factor: float) -> None:
    """Change one tensor of a file of weights, which stays a whole file."""
    tensors = load_file(folder / name)
    key = next(key for key in tensors if part in key)
    tensors[key] = tensors[key] * factor
    save_file(tensors, folder / name, metadata={"format": "pt"})


def cut(folder: Path, name: str, _: Path) -> None:
    data = (folder / name).read_bytes()
    (folder / name).write_bytes(data[: len(data) - 4096])


def other_step(folder: Path, name: str, _: Path) -> None:
    shutil.copyfile(folder.parent / "checkpoint-1" / name, folder / name)


def other_theta(folder: Path, name: str, _: Path) -> None:
    config = json.loads((folder / name).read_text())
    config["rope_parameters"]["rope_theta"] = 500.0
    (folder / name).write_text(json.dumps(config))


def other_vocabulary(folder: Path, name: str, _: Path) -> None:
    """Two ids change places."""
    text = json.loads((folder / name).read_text())
    vocabulary = text["model"]["vocab"]
    a, b = "\u0120the", "\u0120of"
    vocabulary[a], vocabulary[b] = vocabulary[b], vocabulary[a]
    (folder / name).write_text(json.dumps(text))


def appended(folder: Path, name: str, run: Path) -> None:
    file = next(where / name for where in (folder, run) if (where / name).is_file())
    file.write_bytes(file.read_bytes() + b"\n")


Spoil = Callable[[Path, str, Path], object]
SPOILT: dict[str, tuple[Sequence[str], str, Spoil, str | None, str]] = {
    "a tensor changed": (
        COMMON,
        "model.safetensors",
        lambda f, n, _: scaled(f, n, "norm", 1.01),
        "reloaded",
        "weights",
    ),
    "truncated": (COMMON, "model.safetensors", cut, "reloaded", "weights"),
    "weights gone": (COMMON, "model.safetensors", lambda f, n, _: (f / n).unlink(), "reloaded", "weights"),
    "another step's weights": (COMMON, "model.safetensors", other_step, "reloaded", "weights"),
    "configuration": (COMMON, "config.json", other_theta, "reloaded", "config"),
    "vocabulary": (COMMON, "tokenizer.json", other_vocabulary, "tokenizer", "tokenizer"),
    "template": (COMMON, "chat_template.jinja", appended, None, "template"),
    "recipe": (COMMON, "recipe.resolved.json", appended, None, "recipe"),
    "data manifest": (COMMON, "data.manifest.json", appended, None, "data"),
    "adapter": (LORA, "adapter_model.safetensors", lambda f, n, _: scaled(f, n, "lora_B", 2.0), "reloaded", "weights"),
    "adapter truncated": (LORA, "adapter_model.safetensors", cut, "reloaded", "weights"),
    "another step's adapter": (LORA, "adapter_model.safetensors", other_step, "reloaded", "weights"),
}
"""What was done -> (recipe, file, how, the form whose scores say so if any, the part whose hashes say so)."""


@pytest.mark.parametrize("case", SPOILT)
def test_a_spoilt_file_is_detected(certified: Callable[..., Path], case: str, tmp_path: Path) -> None:
    """By its scores where nothing was certified before; by its hash as well where it was; then nothing is exported."""
    words, name, spoil, form, part = SPOILT[case]
    folder, target = certified(tmp_path / "run", *words), tmp_path / "out"
    first = (folder / "certificate.json").read_bytes()
    spoil(folder, name, folder.parents[1])
    code, said = temper("certify", folder, "--merged")
    assert code == 1 and "not those certified" in said and f"{part} {name} " in said
    assert (folder / "certificate.json").read_bytes() == first, "what the files should be is still known"
    code, said = temper("export", folder, "--to", target)
    assert code == 2 and f"{part} {name} " in said and not target.exists()
    if form is None:
        return
    (folder / "certificate.json").unlink()
    code, said = temper("certify", folder, "--merged")
    assert code == 1 and not rows(folder)[form]["passed"] and rows(folder)[form]["reason"] in said
    code, said = temper("export", folder, "--to", target)
    assert code == 2 and form in said and not target.exists()


def test_another_base_under_an_adapter_is_detected(certified: Callable[..., Path], home: Path, tmp_path: Path) -> None:
    """By the scores and by the hash; put back, it passes again."""
    folder, file = certified(tmp_path / "run", *LORA), home / "base/model.safetensors"
    whole = file.read_bytes()
    try:
        scaled(home / "base", file.name, "q_proj", 1.5)
        code, said = temper("certify", folder, "--merged")
    finally:
        file.write_bytes(whole)
    assert code == 1 and "base model.safetensors has changed" in said and "differs by up to" in said
    assert temper("certify", folder, "--bits", "8")[0] == 0 and set(rows(folder)) >= {"merged", "8bit", "files"}


def logits(folder: Path) -> torch.Tensor:
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    asked = tokenizer.apply_chat_template([{"role": "user", "content": "Count to 3."}], return_tensors="pt")
    ids = asked if isinstance(asked, torch.Tensor) else asked["input_ids"]
    with torch.no_grad():
        return model(ids).logits


def scores_of(model: Path, out: Path) -> list[list[float]]:
    from eval_hooks.table import read_table

    code, said = temper(
        "eval", model, "--task", "pocket", "--variant", "olmes_cf", "--shots", 0, "--limit", 20, "--out", out
    )
    assert code == 0, said
    return read_table(out / "pocket.parquet").column("logp").to_pylist()


@pytest.mark.parametrize("kind", ["full", "lora"])
def test_an_exported_folder_is_the_checkpoint_merged(
    certified: Callable[..., Path], kind: str, tmp_path: Path, home: Path
) -> None:
    """It loads by itself, `temper eval` gives the checkpoint's numbers to the last bit, and says if it was touched."""
    from huggingface_hub import ModelCard

    folder, out = certified(tmp_path / "run", *KINDS[kind]), tmp_path / "public/tiny"
    code, said = temper("export", folder, "--to", out)
    assert code == 0 and str(out) in said.replace("\n", ""), said
    names = {file.name for file in out.iterdir()}
    assert names >= {"model.safetensors", "config.json", "generation_config.json", "tokenizer.json", "chat_template.jinja",
                     "certificate.json", "README.md"} and not any(name.startswith("adapter") for name in names)  # fmt: skip
    assert [file.name for file in out.parent.iterdir()] == ["tiny"]
    assert scores_of(out, tmp_path / "a") == scores_of(folder, tmp_path / "b")
    assert torch.isfinite(logits(out)).all() and (kind != "full" or torch.equal(logits(out), logits(folder)))
    card = ModelCard.load(out / "README.md")
    assert card.data.library_name == "transformers" and card.data.eval_results[0].dataset_name == "pocket"
    summary = json.loads((folder.parents[1] / "evals/step-2/summary.json").read_text())
    value = summary["tasks"]["pocket"]["accuracy"]["value"]
    assert card.data.eval_results[0].metric_value == round(value, 4) and f"{100 * value:.1f} %" in card.text
    assert "| reloaded | 0 nats | 0 |" in card.text and "4-bit weights" in card.text and "max_steps: 4" in card.text
    here = [str(home), str(tmp_path), str(Path.home()), *([] if Path.home().name == "root" else [Path.home().name])]
    for file in out.iterdir():
        assert not [place for place in here if place.encode() in file.read_bytes()], file
    assert json.loads((out / "certificate.json").read_text())["run"].startswith("certified")
    assert temper("certify", out)[0] == 0
    scaled(out, "model.safetensors", "norm", 1.01)
    code, said = temper("certify", out)
    assert code == 1 and "weights model.safetensors has changed" in said


def test_without_a_certificate_export_refuses_unless_forced(copy: Callable[..., Path], tmp_path: Path) -> None:
    folder, out = copy(*COMMON), tmp_path / "out"
    code, said = temper("export", folder, "--to", out)
    assert code == 2 and "no certificate" in said and "temper certify" in said and not out.exists()
    assert temper("export", folder, "--to", out, "--force")[0] == 0
    assert "no certificate" in (out / "README.md").read_text() and not (out / "certificate.json").exists()
    code, said = temper("export", folder, "--to", out, "--force")
    assert code == 2 and "not empty" in said


@pytest.mark.parametrize("case", ["no choice task", "step without numbers"])
def test_what_can_have_no_certificate_is_exported_when_forced(
    runs: Callable[..., Path], tmp_path: Path, case: str
) -> None:
    """And is not told that `temper certify` would make one."""
    if case == "no choice task":
        folder = runs("eval.retain=[]", "train.max_steps=2") / "checkpoints/checkpoint-2"
        why = "eval.retain and eval.target have none"
    else:
        shutil.copytree(runs(*COMMON), tmp_path / "run")
        shutil.rmtree(tmp_path / "run/evals/step-2")
        folder, why = tmp_path / "run/checkpoints/checkpoint-2", "has no numbers of pocket to compare with"
    out = tmp_path / "out"
    code, said = temper("export", folder, "--to", out)
    assert code == 2 and "it has no certificate, and can have none: certify: " in said and why in said
    assert "makes one" not in said and not out.exists()
    code, said = temper("export", folder, "--to", out, "--force")
    assert code == 0 and "written all the same (--force)" in said, said
    card = (out / "README.md").read_text()
    assert "**None: it has no certificate, and can have none" in card and not (out / "certificate.json").exists()
    assert "Nothing: the run has no numbers of step 2." in card
    stored = load_file(folder / "model.safetensors")
    assert all(torch.equal(stored[name], value) for name, value in load_file(out / "model.safetensors").items())


def test_a_forced_export_that_breaks_does_not_say_that_it_was_written(
    copy: Callable[..., Path], tmp_path: Path
) -> None:
    folder = copy(*COMMON)
    (folder / "model.safetensors").write_bytes(b"no weights")
    code, said = temper("export", folder, "--to", tmp_path / "out", "--force")
    assert code == 2 and "its weights cannot be loaded" in said and "written all the same" not in said


def test_an_export_that_breaks_leaves_nothing(copy: Callable[..., Path], tmp_path: Path, monkeypatch) -> None:
    folder = copy(*COMMON)

    def full(*args: Any, **kwargs: Any) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("trainers.export.card", full)
    before = sorted(tmp_path.iterdir())
    code, said = temper("export", folder, "--to", tmp_path / "out", "--force")
    assert code == 2 and "No space left on device" in said and sorted(tmp_path.iterdir()) == before


def test_what_is_no_checkpoint_is_refused_by_name(copy: Callable[..., Path], tmp_path: Path, monkeypatch) -> None:
    run = copy(*COMMON).parents[1]
    monkeypatch.chdir(tmp_path)
    cases = {"run:7": "there is: 1, 2", "none:1": "no such checkpoint", str(run): "no checkpoint of a run folder",
             "run": "no checkpoint of a run folder", "run/checkpoints/checkpoint-002": "no checkpoint of a run folder",
             "run/checkpoints/checkpoint-2-good": "no checkpoint of a run folder"}  # fmt: skip
    for odd in ("checkpoint-002", "checkpoint-2-good"):
        shutil.copytree(run / "checkpoints/checkpoint-2", run / "checkpoints" / odd)
    for word, text in cases.items():
        code, said = temper("certify", word)
        assert code == 2 and text in said, said
    code, said = temper("certify", "run:2", "--bits", "3")
    assert code == 2 and "8 or 4" in said
    shutil.rmtree(run / "evals/step-1")
    code, said = temper("certify", "run:1")
    assert code == 2 and "has no numbers of pocket" in said


def test_another_machine_may_round_otherwise_and_the_bound_is_said(copy: Callable[..., Path]) -> None:
    folder = copy(*COMMON)
    file = folder.parents[1] / "environment.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "cpu": "Abacus"}))
    assert temper("certify", folder, "--merged")[0] == 0
    assert rows(folder)["reloaded"]["tolerance"] == 5e-3 and "Abacus" in rows(folder)["reloaded"]["why"]


def test_a_proven_loss_fails_a_quantised_form(copy: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """All weights that 4 bits leave are zero: of a base that knew everything, every item that flips is lost."""
    import trainers.certify_subject as module

    real = module.against_start

    def knew_all(start: Any, table: Any, margin: float, step: int, forms: int) -> Any:
        index = start.column_names.index("correct")
        return real(start.set_column(index, "correct", [[True] * start.num_rows]), table, margin, step, forms)

    monkeypatch.setattr(module, "against_start", knew_all)
    folder = copy(*COMMON)
    assert temper("certify", folder, "--bits", "4")[0] == 1
    assert not rows(folder)["4bit"]["passed"] and rows(folder)["4bit"]["reason"] == "dropped"
    assert rows(folder)["reloaded"]["passed"]


def test_without_torchao_the_request_is_refused(copy: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    folder = copy(*COMMON)
    monkeypatch.setattr("trainers.quantise.importlib.util.find_spec", lambda name: None)
    code, said = temper("certify", folder)
    assert code == 2 and "tempering[quantise]" in said
    assert temper("certify", folder, "--merged")[0] == 0


def test_a_run_certifies_its_final_and_its_kept_checkpoint(home: Path, capsys: pytest.CaptureFixture) -> None:
    """Kept is the first of four; it survives a limit of one, its certificate too. All sinks say it."""
    keep = "{by: eval/pocket/retention/lost}"
    words = (*COMMON, "train.max_steps=4", "train.save_total_limit=1", f"eval.keep={keep}", "eval.certify=true")
    run = home / "certified"
    assert train(load(str(home / "tiny.yaml"), words), run_dir=run) == 0
    shown = capsys.readouterr()
    status = json.loads((run / "status.json").read_text())
    kept = status["recommended"]
    assert kept < 4 and set(status["certificates"]) == {"4", str(kept)}
    assert all(said.startswith("passed on 100 items of pocket") for said in status["certificates"].values())
    assert sorted(file.name for file in run.glob("checkpoints/checkpoint-*")) == [f"checkpoint-{kept}", "checkpoint-4"]
    for step in (kept, 4):
        assert rows(run / f"checkpoints/checkpoint-{step}")["reloaded"]["largest"] == 0.0
        assert f"certify   checkpoint-{step} passed" in shown.err and f"step {step} passed on 100" in " ".join(
            shown.out.split()
        )
    logged = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert {line["step"] for line in logged if line.get("certify/passed") == 1.0} == {kept, 4}
    assert (
        next(line for line in logged if line["step"] == 4 and "certify/4bit/largest" in line)[
            "certify/reloaded/largest"
        ]
        == 0.0
    )
    temper("certify", run / "best")
    assert rows((run / "best").resolve())["files"]["passed"]


def test_the_last_good_checkpoint_of_a_stopped_run_is_still_there_to_be_certified(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Crossed at 2 and 3, patience two, one checkpoint to resume from: that of step 1 has its weights, and a certificate."""
    from tests.trainers.test_actions import crossed_at

    crossed_at(monkeypatch, 2, 3)
    words = (*COMMON, "train.max_steps=4", "train.save_total_limit=1", "eval.certify=true",
             "eval.budget={accuracy_drop: 0.02, action: stop, patience: 2}")  # fmt: skip
    assert train(load(str(home / "tiny.yaml"), words), run_dir=home / "stopped") == 3
    status = json.loads((home / "stopped/status.json").read_text())
    assert status["last_good"] == 1 and set(status["certificates"]) == {"1", "3"}
    assert not (home / "stopped/checkpoints/checkpoint-1/optimizer.pt").exists()


def test_a_certificate_that_cannot_be_made_breaks_no_run(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("no more memory")

    monkeypatch.setattr("trainers.certify.certify", broken)
    assert train(load(str(home / "tiny.yaml"), (*COMMON, "eval.certify=true")), run_dir=home / "broken") == 0
    status = json.loads((home / "broken/status.json").read_text())
    assert status["certificates"] == {"2": "not made: RuntimeError: no more memory"}


def test_a_run_without_options_to_ask_is_refused_before_it_starts(home: Path) -> None:
    with pytest.raises(TrainError, match="eval.retain: .*pocket"):
        train(load(str(home / "tiny.yaml"), (*COMMON, "eval.certify=true", "eval.retain=[]")), run_dir=home / "none")
    assert not (home / "none").exists()


@pytest.mark.soak
def test_a_run_of_a_pipeline_is_certified_on_the_pipelines_axis(home: Path) -> None:
    """The second run starts from the first one's LoRA, merged; step 2 of it is step 5 of all."""
    from launch.load import load_any
    from tests.trainers.test_pipeline import write_pipeline
    from trainers.pipeline import train_pipeline

    pipeline = load_any(str(write_pipeline(home)), ("pipeline.0.set.eval.certify=true",))
    assert train_pipeline(pipeline, run_dir=home / "both") == 0
    for stage, step, at in (("1-learn", 3, 3), ("2-forget", 2, 5)):
        folder = home / "both/stages" / stage / f"checkpoints/checkpoint-{step}"
        assert (folder / "certificate.json").is_file() == (stage == "1-learn")
        recipe, place, number = checkpoint_of(str(folder))
        made = certify(recipe, place, number, bits=())
        assert made["passed"] and made["step"] == at
        assert next(row for row in made["rows"] if row["form"] == "reloaded")["largest"] == 0.0
    code, said = temper("certify", f"{home}/both:5")
    assert code == 2 and "name one of its runs" in said


def test_two_tokenizers_that_read_otherwise_show_the_first_token() -> None:
    """Option 2 of the second item: token 3 on."""

    def read(last: int) -> Any:
        choices = [
            SimpleNamespace(item=SimpleNamespace(item_id=f"i/{n}"), prompt="p", shared=(1, 2), branches=branches)
            for n, branches in enumerate([((3,), (4,)), ((5,), (last, 7))])
        ]
        return SimpleNamespace(choices=choices)

    assert (
        tokens_apart(read(6), read(9))
        == "item i/1, from token 3 on: ids [6, 7] by the run's, [9, 7] by the checkpoint's"
    )
    assert tokens_apart(read(6), read(6)) == "other options are scored"
