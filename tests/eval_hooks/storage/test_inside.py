"""Paths of a run folder lead nowhere else: read, appended to, deleted."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from eval_hooks import EvalError
from eval_hooks.storage.inside import append, check_folder, inside, remove
from eval_hooks.track import Tracker


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A folder with a file and a folder, beside somebody's secret and somebody's folder."""
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "file").write_text("precious")
    (tmp_path / "run" / "evals").mkdir(parents=True)
    (tmp_path / "run" / "recipe.yaml").write_text("stage: sft\n")
    return tmp_path / "run"


LINKS: dict[str, Callable[[Path], None]] = {
    "to a file": lambda run: (run / "metrics.jsonl").symlink_to("../secret"),
    "to a folder": lambda run: (run / "checkpoints").symlink_to(run.parent / "theirs"),
    "deep": lambda run: (run / "evals" / "step-0").symlink_to(run.parent / "theirs"),
    "to nothing outside": lambda run: (run / "status.json").symlink_to("/nowhere/at/all"),
    "in a circle": lambda run: (run / "status.json").symlink_to("status.json"),
    "by way of a link": lambda run: ((run / "b").symlink_to("a"), (run / "a").symlink_to("../secret"))[0],
    "a pipe": lambda run: os.mkfifo(run / "status.json"),
    "in W&B's folder": lambda run: ((run / "wandb" / "x").mkdir(parents=True),
                                   (run / "wandb" / "x" / "run-1.wandb").symlink_to("../../../secret"))[0],
    "W&B's folder": lambda run: (run / "wandb").symlink_to("../theirs"),
}  # fmt: skip


@pytest.mark.parametrize("make", LINKS.values(), ids=LINKS)
def test_a_folder_that_leads_elsewhere_is_refused(run: Path, make: Callable[[Path], None]) -> None:
    check_folder(run)
    make(run)
    with pytest.raises(EvalError, match="not a folder that temper wrote: "):
        check_folder(run)


def test_a_socket_is_refused_and_all_entries_are_named(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(run)  # a socket's path is short
    with socket.socket(socket.AF_UNIX) as there:
        there.bind("status.json")
        Path("recipe.resolved.json").symlink_to("../secret")
        with pytest.raises(EvalError, match="recipe.resolved.json is a link to ../secret") as raised:
            check_folder(Path())
    assert "status.json is a pipe, socket or device" in str(raised.value)


def test_links_within_the_folder_and_to_the_folder_and_wandbs_logs_are_none_of_it(run: Path) -> None:
    (run / "checkpoints" / "checkpoint-4").mkdir(parents=True)
    (run / "best").symlink_to("checkpoints/checkpoint-4")
    (run / "wandb" / "offline-run-1" / "logs").mkdir(parents=True)
    (run / "wandb" / "latest-run").symlink_to("offline-run-1")
    (run / "wandb" / "offline-run-1" / "logs" / "debug-core.log").symlink_to(run.parent / "secret")
    (run.parent / "named").symlink_to(run)
    check_folder(run)
    check_folder(run.parent / "named")
    assert inside(run.parent / "named", run.parent / "named" / "evals" / "new")


def test_a_link_is_deleted_and_not_what_it_points_to(run: Path) -> None:
    (run / "a").symlink_to(run.parent / "theirs")
    (run / "b").symlink_to(run.parent / "secret")
    (run / "c").symlink_to("/nowhere")
    (run / "d" / "e").mkdir(parents=True)
    for name in ("a", "b", "c", "d", "none"):
        remove(run / name, run)
    assert sorted(file.name for file in run.iterdir()) == ["evals", "recipe.yaml"]
    assert (run.parent / "theirs" / "file").read_text() == "precious" and (run.parent / "secret").is_file()


def test_nothing_is_deleted_by_way_of_a_link(run: Path) -> None:
    (run / "checkpoints").symlink_to(run.parent / "theirs")
    with pytest.raises(EvalError, match="outside of"):
        remove(run / "checkpoints" / "file", run)
    assert (run.parent / "theirs" / "file").is_file()


@pytest.mark.parametrize("make", [
    lambda file: file.symlink_to("../secret"),
    lambda file: os.link(file.parents[1] / "secret", file),
    os.mkfifo,
    Path.mkdir,
])  # fmt: skip
def test_numbers_are_not_appended_to_a_file_elsewhere(run: Path, make: Callable[[Path], None]) -> None:
    make(run / "metrics.jsonl")
    with pytest.raises(EvalError, match="metrics.jsonl: not a file of this folder alone"):
        Tracker(run).log(1, {"train/loss": 1.0})
    assert (run.parent / "secret").read_text() == "secret"


def test_what_is_appended_stands_in_one_piece(run: Path) -> None:
    for line in (b"a\n", b"b\n"):
        append(run / "metrics.jsonl", line, run)
    assert (run / "metrics.jsonl").read_bytes() == b"a\nb\n"
