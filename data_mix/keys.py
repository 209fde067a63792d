"""Keys of caches, and what they are made from: the content of files, never their names, sizes or times alone."""

import glob
import hashlib
from pathlib import Path
from typing import Any

from data_mix.json_text import json_text

_READ: dict[tuple[str, int, int, int, int], str] = {}
"""A file's path, size, number on the disk, and times of change -> its sha256, so that a process reads it once.

No program can set a file's ctime.
"""


def key_of(*parts: Any) -> str:
    """Sixteen hexadecimal digits of all that decides what is cached: plain values; a `Path` stands for its content."""
    return digest_of([content_of(part) if isinstance(part, Path) else part for part in parts])[:16]


def digest_of(value: Any) -> str:
    """sha256 of a plain value, whatever the order of its maps' keys."""
    return hashlib.sha256(json_text(value, sort_keys=True, default=str, ensure_ascii=False).encode()).hexdigest()


def content_of(path: Path) -> dict[str, str]:
    """Name -> sha256 of each file that a path means: a file, all of a folder, or a pattern. Names start there."""
    if path.is_file():
        return {path.name: file_hash(path)}
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file())
        return {str(file.relative_to(path)): file_hash(file) for file in files}
    found = {name: Path(name) for name in sorted(glob.glob(str(path.expanduser()), recursive=True))}
    return {f"{name}/{of}": sha for name, one in found.items() for of, sha in content_of(one).items()}


def file_hash(file: Path) -> str:
    """sha256 of a file's bytes; one that has not changed since this process read it is not read again."""
    found = file.stat()
    at = (str(file.resolve()), found.st_size, found.st_ino, found.st_mtime_ns, found.st_ctime_ns)
    if at not in _READ:
        with file.open("rb") as handle:
            _READ[at] = hashlib.file_digest(handle, "sha256").hexdigest()
    return _READ[at]
