"""Files are written whole or not at all."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from eval_hooks.certificate import certificates
from eval_hooks.errors import EvalError
from eval_hooks.files import checkpoints, evaluations, write_atomic


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    write_atomic(tmp_path / "new" / "a.json", b"one")
    write_atomic(tmp_path / "new" / "a.json", b"two")
    assert (tmp_path / "new" / "a.json").read_bytes() == b"two"
    assert [f.name for f in (tmp_path / "new").iterdir()] == ["a.json"]


def test_a_full_disk_leaves_the_old_file_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_atomic(tmp_path / "a.json", b"old")

    def full(*args: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(EvalError, match=r"a\.json: cannot be written: No space left on device; free some space"):
        write_atomic(tmp_path / "a.json", b"new")
    assert (tmp_path / "a.json").read_bytes() == b"old"
    assert [f.name for f in tmp_path.iterdir()] == ["a.json"]


def test_a_path_that_cannot_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EvalError, match=r"a\.json: cannot be written: .*choose a writable folder"):
        write_atomic(tmp_path / "file" / "a.json", b"x")


def test_only_folders_of_a_step_as_a_run_writes_it_are_checkpoints(tmp_path: Path) -> None:
    """Beside checkpoint-2 and checkpoint-10: a copy, an empty name, leading zeros, other digits, a file, a torn link."""
    there = tmp_path / "checkpoints"
    for name in ("checkpoint-10", "checkpoint-2", "checkpoint-2-good", "checkpoint-", "checkpoint-007", "checkpoint-٣",
                 "checkpoint--1", "my-checkpoint-5", "checkpoint-2.bak"):  # fmt: skip
        (there / name).mkdir(parents=True)
    (there / "checkpoint-11").write_text("a file")
    (there / "checkpoint-12").symlink_to("nowhere")
    assert checkpoints(tmp_path) == {2: there / "checkpoint-2", 10: there / "checkpoint-10"}
    for name in ("step-2", "step-02", "step-2-good", "step-"):
        (tmp_path / "evals" / name).mkdir(parents=True)
        (tmp_path / "evals" / name / "summary.json").write_text("{}")
    assert list(evaluations(tmp_path)) == [2]
    for name in ("checkpoint-2", "checkpoint-2-good", "checkpoint-02"):
        (there / name).mkdir(exist_ok=True)
        (there / name / "certificate.json").write_text('{"step": 2}')
    assert certificates(tmp_path) == [{"step": 2}]
