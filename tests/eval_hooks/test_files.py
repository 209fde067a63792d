"""Files are written whole or not at all."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from eval_hooks.errors import EvalError
from eval_hooks.files import write_atomic


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
