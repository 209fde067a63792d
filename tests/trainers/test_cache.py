"""The cache is the user's own, and gives back what was put there; files have the permissions of the umask."""

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from eval_hooks.claims import claimed
from eval_hooks.files import write_atomic
from trainers import TrainError
from trainers.cache import cache_dir, check_kept, check_owner, is_kept, keep


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """A folder of two files in a cache."""
    (tmp_path / "part" / "sub").mkdir(parents=True)
    (tmp_path / "part" / "model.safetensors").write_bytes(b"weights")
    (tmp_path / "part" / "sub" / "config.json").write_text("{}")
    keep(tmp_path / "part", tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def umask() -> Iterator[Callable[[int], int]]:
    """Sets a umask for the test."""
    before = os.umask(0o022)
    yield os.umask
    os.umask(before)


def test_what_was_put_there_is_given_back(kept: Path) -> None:
    assert is_kept(kept) and check_kept(kept) == kept
    os.utime(kept / "model.safetensors")  # touched, and the same
    assert check_kept(kept) == kept


SPOILED: dict[str, tuple[Callable[[Path], object], str]] = {
    "other bytes": (lambda kept: (kept / "model.safetensors").write_bytes(b"w3ights"), "model.safetensors"),
    "a file gone": (lambda kept: (kept / "sub" / "config.json").unlink(), "sub/config.json"),
    "a new file": (lambda kept: (kept / "modeling.py").write_text("print()"), "modeling.py"),
    "another file of that name": (lambda kept: replaced(kept / "sub" / "config.json"), "sub/config.json"),
}


def replaced(file: Path) -> None:
    """Other content of the same size and time."""
    before = file.stat()
    file.write_text("[]")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize(("spoil", "named"), SPOILED.values(), ids=SPOILED)
def test_what_is_not_as_it_was_put_there_is_refused(kept: Path, spoil: Callable[[Path], object], named: str) -> None:
    spoil(kept)
    with pytest.raises(TrainError, match=f"{named} not as it was put there .sha256.; remove that folder"):
        check_kept(kept)


def test_a_folder_without_its_record_is_made_again(kept: Path, tmp_path: Path) -> None:
    (tmp_path / "model.sha256.json").unlink()
    assert not is_kept(kept)
    (tmp_path / "part").mkdir()
    (tmp_path / "part" / "new").touch()
    keep(tmp_path / "part", kept)
    assert is_kept(kept) and [file.name for file in check_kept(kept).iterdir()] == ["new"]


def test_a_cache_of_somebody_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_owner(tmp_path)
    monkeypatch.setattr("trainers.cache.os.geteuid", lambda: os.getuid() + 1)
    monkeypatch.setenv("TEMPERING_CACHE", str(tmp_path))
    with pytest.raises(
        TrainError, match=f"cache {tmp_path}: belongs to user {os.getuid()}, not to you.*TEMPERING_CACHE"
    ):
        cache_dir()


def test_a_cache_that_everybody_writes_into_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tmp_path.chmod(0o777)
    monkeypatch.setenv("TEMPERING_CACHE", str(tmp_path))
    with pytest.raises(TrainError, match="everybody may write into it"):
        cache_dir()
    monkeypatch.setenv("TEMPERING_CACHE", str(tmp_path / "own"))
    assert stat.S_IMODE(cache_dir().stat().st_mode) == 0o700


def test_a_cache_that_cannot_be_made_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("TEMPERING_CACHE", str(tmp_path / "file"))
    with pytest.raises(TrainError, match="point TEMPERING_CACHE at"):
        cache_dir()


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002, 0o027])
def test_files_are_made_under_the_users_umask(tmp_path: Path, umask: Callable[[int], int], mask: int) -> None:
    umask(mask)
    write_atomic(tmp_path / "new" / "file", b"")
    with claimed(tmp_path, "step-1"):
        (claim,) = tmp_path.glob(".*.claim")
        modes = [stat.S_IMODE(file.stat().st_mode) for file in (tmp_path / "new" / "file", claim)]
    assert modes == [0o666 & ~mask] * 2
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o777 & ~mask


def test_a_file_is_put_in_a_links_place(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "file").symlink_to("secret")
    write_atomic(tmp_path / "file", b"new")
    assert (tmp_path / "secret").read_text() == "secret" and not (tmp_path / "file").is_symlink()
