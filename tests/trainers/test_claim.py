"""The run folder is claimed: what a person has in it stays, and two starts never have the same one."""

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from typer.testing import CliRunner

from data_mix import DataError
from launch.cli import app
from launch.load import load_any
from trainers import TrainError
from trainers.pipeline import train_pipeline
from trainers.recipe import Recipe
from trainers.run import train
from trainers.rundir import Claim, give_back, is_free, next_folder, read_status, take
from trainers.show_data import show

Load = Callable[..., Recipe]
REFUSED = ("adapter={kind: none}", "model.dtype=bfloat16")
"""Found out when the weights are loaded: after the folder was taken."""
SET = ("adapter={kind: none}", "model={dtype: bfloat16}")
"""The same as a pipeline's words."""


def test_a_start_that_fails_leaves_the_users_own_files(recipe: Load) -> None:
    """runs/tiny is the person's, so the run is runs/tiny-2, and that is gone again."""
    mine = Path("runs/tiny/train.jsonl")
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    with pytest.raises(TrainError, match=r"model\.dtype"):
        train(recipe(*REFUSED))
    assert mine.read_text() == "mine"
    assert [file.name for file in Path("runs").iterdir()] == ["tiny"]


@pytest.mark.parametrize("there", ["", "notes.txt", "checkpoints", "checkpoints/mine.bin", ".hidden", "recipe.yaml"])
def test_any_folder_with_something_in_it_is_taken(recipe: Load, there: str) -> None:
    Path("runs/tiny").mkdir(parents=True)
    if there:
        Path("runs/tiny", there).parent.mkdir(exist_ok=True)
        Path("runs/tiny", there).touch() if "." in there else Path("runs/tiny", there).mkdir()
    assert take(recipe(), None, resume=False).folder.name == ("tiny-2" if there else "tiny")


@pytest.mark.parametrize("make", [Path.touch, lambda path: path.symlink_to("nowhere"), os.mkfifo])
def test_a_file_a_link_or_a_pipe_of_that_name_is_no_folder_of_ours(recipe: Load, make: Callable[[Path], None]) -> None:
    Path("runs").mkdir()
    make(Path("runs/tiny"))
    assert next_folder(recipe()).name == take(recipe(), None, resume=False).folder.name == "tiny-2"
    with pytest.raises(TrainError, match="--run-dir runs/tiny: a file"):
        train(recipe(), run_dir=Path("runs/tiny"))


def test_starts_at_once_get_folders_of_their_own(recipe: Load) -> None:
    with ThreadPoolExecutor(8) as pool:
        claims = list(pool.map(lambda _: take(recipe(), None, resume=False), range(16)))
    assert len({claim.folder for claim in claims}) == 16


def test_one_of_several_starts_gets_the_folder_that_they_name(recipe: Load) -> None:
    Path("mine").mkdir()

    def start(_: int) -> Claim | None:
        try:
            return take(recipe(), Path("mine"), resume=False)
        except TrainError:
            return None

    with ThreadPoolExecutor(8) as pool:
        assert sum(claim is not None for claim in pool.map(start, range(16))) == 1


def test_what_is_given_back_is_what_the_start_made(recipe: Load) -> None:
    """A folder that was there, empty or with temper data's manifest, stays, and so does what came meanwhile."""
    Path("runs/tiny").mkdir(parents=True)
    Path("runs/tiny/data.manifest.json").write_text("{}")
    claim = take(recipe(), None, resume=False)
    assert claim == Claim(folder=Path("runs/tiny"), kept=frozenset({"data.manifest.json"}))
    Path("runs/tiny/mine.txt").write_text("put there meanwhile")
    Path("runs/tiny/logs").mkdir()
    give_back(claim)
    assert sorted(file.name for file in Path("runs/tiny").iterdir()) == ["data.manifest.json", "mine.txt"]
    Path("named").mkdir()
    give_back(take(recipe(), Path("named"), resume=False))
    assert Path("named").is_dir() and not any(Path("named").iterdir())
    give_back(take(recipe(), Path("made"), resume=False))
    assert not Path("made").exists()


def test_giving_back_does_not_follow_links(recipe: Load, tmp_path: Path) -> None:
    claim = take(recipe(), None, resume=False)
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").touch()
    (claim.folder / "logs").symlink_to(tmp_path / "precious")
    give_back(claim)
    assert (tmp_path / "precious" / "file").is_file() and not claim.folder.exists()


def test_a_folder_of_other_things_is_not_resumed(recipe: Load) -> None:
    Path("mine").mkdir()
    Path("mine/thesis.tex").write_text("mine")
    with pytest.raises(TrainError, match="it holds 'thesis.tex' and no status.json"):
        train(recipe(), run_dir=Path("mine"), resume=True)
    assert [file.name for file in Path("mine").iterdir()] == ["thesis.tex"]


def test_a_folder_in_which_a_run_is_at_work_is_not_resumed(recipe: Load) -> None:
    """The status names a living process of this machine: refused. Gone, or begun after the status: resumed."""
    folder = take(recipe(), Path("run"), resume=True).folder
    other = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    said = {**read_status(folder), "pid": other.pid, "host": platform.node(), "updated": time.time()}
    (folder / "status.json").write_text(json.dumps(said))
    with pytest.raises(TrainError, match=f"a run is at work in it \\(process {other.pid}\\)"):
        take(recipe(), Path("run"), resume=True)
    (folder / "status.json").write_text(json.dumps({**said, "updated": time.time() - 3600}))
    assert take(recipe(), Path("run"), resume=True).folder == folder
    (folder / "status.json").write_text(json.dumps(said))
    other.kill()
    other.wait()
    assert take(recipe(), Path("run"), resume=True).folder == folder


def test_temper_data_leaves_its_manifest_where_the_next_run_will_be(recipe: Load) -> None:
    for _ in range(2):
        show(recipe(), rows=0)
    assert is_free(Path("runs/tiny")) and [file.name for file in Path("runs").iterdir()] == ["tiny"]
    assert train(recipe("train.max_steps=1", "eval.retain=[]")) == 0
    assert [file.name for file in Path("runs").iterdir()] == ["tiny"]
    show(recipe(), rows=0)
    assert sorted(file.name for file in Path("runs").iterdir()) == ["tiny", "tiny-2"]


def test_after_every_look_and_a_refusal_the_folder_that_is_named_is_free(recipe_file: Path) -> None:
    """`temper data` says where its manifest is, and that folder is what the next start is told to use."""
    file, folder = str(recipe_file), Path("runs/tiny")
    Path("both.yaml").write_text(f"pipeline: [{{name: one, recipe: {file}}}]\n")
    named = ("eval.retain=[]", "--run-dir", str(folder))
    looks = (
        (0, "data", file, "--show", "0"),
        (0, "train", file, *named, "--dry-run"),
        (0, "check", file, *named),
        (2, "train", file, *named, *REFUSED, "--unchecked"),
        (0, "launch", file, *named, "--nproc", "2", "--print"),
        (2, "train", "both.yaml", "--run-dir", str(folder), "--unchecked", *(f"pipeline.0.set.{w}" for w in SET)),
    )
    for code, *words in looks:
        assert CliRunner().invoke(app, words).exit_code == code, words
        assert is_free(folder) and [entry.name for entry in folder.iterdir()] == ["data.manifest.json"], words


def test_a_pipeline_that_fails_at_its_start_leaves_the_users_own_files(recipe_file: Path) -> None:
    mine = Path("runs/both/train.jsonl")
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    set_ = "{adapter: {kind: none}, model: {dtype: bfloat16}}"
    Path("both.yaml").write_text(f"pipeline: [{{name: one, recipe: {recipe_file}, set: {set_}}}]\n")
    with pytest.raises((TrainError, DataError)):
        train_pipeline(load_any("both.yaml"))
    assert mine.read_text() == "mine" and [file.name for file in Path("runs").iterdir()] == ["both"]
