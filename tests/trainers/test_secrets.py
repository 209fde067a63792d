"""One secret in every place that a user could put it: nothing that a run or a later command leaves has it."""

import io
import json
import os
import pickle
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from eval_hooks.files import write_json
from tests.trainers.conftest import RECIPE, write_rows
from trainers import TrainError

ROOT = Path(__file__).parents[2]
SECRET = "Kaninchen-7-im-Stall"
COMMENTS = f"""
# hub_token: {SECRET}
# train: {{hub_token: {SECRET}, push_to_hub: true}}
# from https://user:{SECRET}@example.org/data
# export OPENAI_API_KEY={SECRET}
# curl -H 'Authorization: Bearer {SECRET}'
"""
WORDS = (
    f"data.train.0.system=see https://user:{SECRET}@example.org/x?token={SECRET}",
    f"data.train.0.roles={{operator: assistant, api_key: {SECRET}}}",
    "track={wandb: {mode: offline}, tensorboard: true}",
    "eval.retain=[{task: pocket, variant: olmes_cf, shots: 0, limit: 8}]",
    "eval.every=1",
    "train.max_steps=1",
)
VARIABLES = {
    "HF_TOKEN": SECRET,
    "HUGGING_FACE_HUB_TOKEN": SECRET,
    "WANDB_API_KEY": f"{SECRET}-and-forty-characters-in-all-12345"[:40],
    "AWS_SECRET_ACCESS_KEY": SECRET,
    "SOME_API_KEY": SECRET,
}


def decoded(file: Path) -> Iterator[bytes]:
    """A file's bytes; of an archive, a pickle and W&B's own file what is in them as well."""
    data = file.read_bytes()
    yield data
    if zipfile.is_zipfile(io.BytesIO(data)):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            yield from (archive.read(name) for name in archive.namelist())
    if file.suffix == ".wandb":
        from eval_hooks.wandb_files import records

        yield from records(file)


def holding(folder: Path, secret: str) -> list[str]:
    """The files below a folder that have the secret, in their name or in what they hold."""
    files = [file for file in folder.rglob("*") if file.is_file() and not file.is_symlink()]
    return [str(file) for file in files
            if secret in str(file) or any(secret.encode() in part for part in decoded(file))]  # fmt: skip


@pytest.fixture
def work(tmp_path: Path, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in with the recipe, in a git checkout whose address has the secret; a home and a /tmp beside."""
    folder = tmp_path / "work"
    for path in (folder, tmp_path / "home", tmp_path / "tmp"):
        path.mkdir()
    text = RECIPE.format(model=tiny_folder, data=write_rows(folder / "rows.jsonl"))
    (folder / "tiny.yaml").write_text(COMMENTS + text)
    git = ["git", "-C", str(folder), "-c", "user.name=x", "-c", "user.email=x@example.org"]
    for words in (["init", "-q"], ["remote", "add", "origin", f"https://user:{SECRET}@example.org/x.git"]):
        subprocess.run([*git, *words], check=True)
    places = {"HOME": "home", "TMPDIR": "tmp", "TEMPERING_CACHE": "home/cache"}
    for name, value in {**VARIABLES, **{name: str(tmp_path / place) for name, place in places.items()}}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.chdir(folder)
    return folder


def test_nothing_that_a_run_or_a_later_command_leaves_has_the_secret(work: Path, reports: None) -> None:
    from launch.cli import app

    words = [sys.executable, "-m", "launch", "train", "tiny.yaml", *WORDS, "--run-dir", "run"]
    done = subprocess.run(
        words, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    command = json.loads((work / "run/environment.json").read_text())["command"]
    assert "data.train.0.system=see https://***@example.org/x?token=***" in command
    later = (
        ["watch", "run", "--once"], ["report", "run"], ["certify", "run:1", "--merged"],
        ["export", "run:1", "--to", "public"], ["compare", "run:0", "run:1"], ["dashboard", "run", "--print"],
        ["train", "tiny.yaml", *WORDS, "--dry-run"],
        ["launch", "tiny.yaml", *WORDS, "--print", "--with", "slurm", "--nproc", "1"], ["train", f"https://u:{SECRET}@x"],
    )  # fmt: skip
    codes = []
    for command in later:
        result = CliRunner().invoke(app, command)
        said += result.output
        codes.append(result.exit_code)
        assert result.exception is None or isinstance(result.exception, SystemExit), (command, result.exception)
    assert codes == [0, 0, 0, 0, 0, 0, 0, 2, 2], said
    assert SECRET not in said
    originals = {str(work / "tiny.yaml"), str(work / ".git/config")}
    assert set(holding(work.parent, SECRET)) == originals
    kept = {"run/recipe.yaml", "run/wandb", "run/tensorboard", "run/logs/rank-0.log", "run/report.html", "public/README.md",
            "compare/compare.html", "run/checkpoints/checkpoint-1/training_args.bin"}  # fmt: skip
    assert all((work / name).exists() for name in kept)
    assert "# hub_token: ***" in (work / "run/recipe.yaml").read_text()


def test_a_failure_is_told_without_the_secret(
    work: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    from launch.load import load
    from trainers.run import train

    def refused(*args: Any, **kwargs: Any) -> Any:
        raise RuntimeError(f"cannot open https://user:{SECRET}@example.org with api_key='{SECRET}'")

    monkeypatch.setattr("trl.SFTTrainer.training_step", refused)
    words = (*WORDS[:2], "eval.retain=[]", "train.max_steps=1")
    assert train(load("tiny.yaml", words), run_dir=Path("run")) == 4
    shown = capsys.readouterr()
    assert SECRET not in shown.out + shown.err and "https://***@example.org" in shown.err
    assert "cannot open https://***@example.org with api_key='***'" in (work / "run/traceback.txt").read_text()
    assert "https://***@example.org" in (work / "run/status.json").read_text()
    assert set(holding(work.parent, SECRET)) == {str(work / "tiny.yaml"), str(work / ".git/config")}


def test_training_arguments_of_a_checkpoint_hold_no_secret(work: Path) -> None:
    """They are pickled by transformers: the fields that could are refused in a recipe, and none is filled elsewhere."""
    from launch.load import load
    from trainers.arguments import training_arguments

    arguments = training_arguments(load("tiny.yaml", WORDS))
    assert arguments.hub_token is None and not arguments.push_to_hub
    assert SECRET.encode() not in pickle.dumps(arguments)


def test_a_run_goes_on_though_its_secrets_were_masked(work: Path) -> None:
    """What was written is compared with what is asked as it would be written; another value elsewhere still counts."""
    from launch.load import load
    from trainers.changes import as_kept, check_changes, differences

    recipe = load("tiny.yaml", WORDS)
    assert SECRET in json.dumps(recipe.resolved) and SECRET not in json.dumps(as_kept(recipe.resolved))
    assert not list(differences(as_kept(recipe.resolved), recipe.resolved))
    assert not list(differences(recipe.resolved, recipe.resolved))
    (work / "run").mkdir()
    write_json(work / "run/recipe.resolved.json", recipe.resolved)
    assert check_changes(work / "run", recipe).lines == []
    with pytest.raises(TrainError, match="data.train.0.system") as caught:
        check_changes(work / "run", load("tiny.yaml", [*WORDS[1:], f"data.train.0.system=other https://u:{SECRET}@x"]))
    assert SECRET not in str(caught.value)


def test_a_masked_place_says_so_where_its_rows_are_needed() -> None:
    from data_mix import DataError
    from data_mix.config import SourceSpec
    from data_mix.read import numbered
    from data_mix.sources.hub import Hub

    for path in ("https://***@example.org/x", "https://example.org/x?a=1&sig=***"):
        with pytest.raises(DataError, match="was masked when the run was written"):
            next(numbered(SourceSpec(source="hub", name="x", config=Hub(path=path)), 0))


def test_texts_of_an_evaluations_table_are_masked(tmp_path: Path) -> None:
    from eval_hooks.table import generate_table, read_table, write_table

    row = {"task": "sql", "item_id": "1", "prompt": f"see https://u:{SECRET}@host", "output": "plain", "gold": "5",
           "correct": True, "reason": "", "n_tokens": 1, "hit_limit": False}  # fmt: skip
    write_table(generate_table([row]), tmp_path / "a.parquet")
    kept = read_table(tmp_path / "a.parquet")
    assert kept.column("prompt").to_pylist() == ["see https://***@host"]
    assert kept.drop_columns(["prompt"]).equals(generate_table([row]).drop_columns(["prompt"]))
