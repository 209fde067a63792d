"""The user's cache: theirs alone, and what is taken from it is what was put there."""

import hashlib
import os
import shutil
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from eval_hooks.files import read_json, write_json
from trainers import TrainError

Record = Mapping[str, Mapping[str, Any]]
"""File name -> its sha256 and what the file system says of it."""


def cache_dir() -> Path:
    """The user's cache of this suite: $TEMPERING_CACHE, else $XDG_CACHE_HOME/tempering, else ~/.cache/tempering.

    Made where it is not there, for the user alone. Raises TrainError for one that others can put files into.
    """
    own = os.environ.get("TEMPERING_CACHE")
    folder = Path(own) if own else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tempering"
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise TrainError(f"cache {folder}: {error.strerror}; point TEMPERING_CACHE at a folder of your own") from error
    check_owner(folder)
    return folder


def check_owner(folder: Path) -> None:
    """Raise TrainError where a folder is somebody else's, or everybody may write into it."""
    found = folder.stat()
    if found.st_uid != os.geteuid():
        raise TrainError(
            f"cache {folder}: belongs to user {found.st_uid}, not to you, and models in it could be anything; point "
            "TEMPERING_CACHE at a folder of your own"
        )
    if found.st_mode & stat.S_IWOTH:
        raise TrainError(
            f"cache {folder}: everybody may write into it, so models in it could be anything; `chmod o-w` it, or point "
            "TEMPERING_CACHE at a folder of your own"
        )


def sha256(file: Path) -> str:
    """Of a file's bytes."""
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def keep(folder: Path, final: Path) -> None:
    """Put a folder that is done at its place in the cache, with a record of its files beside it.

    Raises OSError where that cannot be written.
    """
    for file in folder.rglob("*"):
        if file.is_file():
            with file.open("rb") as handle:
                os.fsync(handle.fileno())
    write_json(_record_of(final), {"files": _hashed(folder, {})})
    shutil.rmtree(final, ignore_errors=True)  # one without a record
    os.replace(folder, final)


def is_kept(folder: Path) -> bool:
    """Whether a folder of the cache is there with its record."""
    return folder.is_dir() and _record_of(folder).is_file()


def check_kept(folder: Path) -> Path:
    """The folder, whose files are those that were put there: by sha256, of files that were touched since it was taken.

    Raises TrainError naming what is not, and how to have it made again.
    """
    check_owner(folder)
    before: Record = read_json(_record_of(folder))["files"]
    now = _hashed(folder, before)
    wrong = [name for name in {**before, **now} if _sha(before, name) != _sha(now, name)]
    if wrong:
        raise TrainError(
            f"{folder}: {', '.join(wrong)} not as it was put there (sha256); remove that folder, to have it made again"
        )
    if now != before:  # copied or touched, and the same
        write_json(_record_of(folder), {"files": now})
    return folder


def _hashed(folder: Path, before: Record) -> dict[str, dict[str, Any]]:
    """The files of a folder; one whose time, size and place on disk are as `before` is not read again.

    A file's time of change (ctime) cannot be set by a program, as that of its content can.
    """
    out: dict[str, dict[str, Any]] = {}
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            found, name = file.stat(), str(file.relative_to(folder))
            place = {"size": found.st_size, "ino": found.st_ino, "mtime": found.st_mtime_ns, "ctime": found.st_ctime_ns}
            old = before.get(name, {})
            same = all(old.get(key) == value for key, value in place.items())
            out[name] = {"sha256": old["sha256"] if same else sha256(file), **place}
    return out


def _sha(record: Record, name: str) -> str | None:
    return record.get(name, {}).get("sha256")


def _record_of(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.sha256.json")
