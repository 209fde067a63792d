"""W&B's own files in a run folder, read back: what a process that was killed had not written yet is shown again.

wandb-core writes its file with a delay of some seconds (0.31, measured: about ten), so kill -9 costs the newest lines.
"""

import json
import re
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eval_hooks.errors import EvalError

HEADER, BLOCK, CHUNK = b":W&B", 32768, 7
"""LevelDB's log format after a header of 7 bytes: blocks of 32 KiB, chunks of (crc32, length, kind) and data."""
FULL, FIRST, LAST = 1, 2, 4
NAME = re.compile(r"(offline-)?run-\d{8}_\d{6}-(.+)")
"""Of a folder that wandb makes: the time it was made at, and the run's id, in which hyphens may stand."""


@dataclass(frozen=True, kw_only=True)
class RunFolder:
    """One folder that wandb made for a run."""

    path: Path
    run_id: str
    offline: bool


def run_folders(folder: Path, run_id: str | None = None) -> list[RunFolder]:
    """Those in a run folder, the newest last, of all W&B runs or of one."""
    named = [(path, NAME.fullmatch(path.name)) for path in folder.glob("wandb/*run-*")]
    found = [RunFolder(path=path, run_id=name[2], offline=bool(name[1])) for path, name in named if name]
    return sorted((one for one in found if run_id in (None, one.run_id)), key=lambda one: one.path.stat().st_mtime)


def records(file: Path) -> Iterator[bytes]:
    """The records of a .wandb file, up to where it is torn. Raises EvalError for a file of another format."""
    data = file.read_bytes()
    if data[:4] != HEADER[: len(data)]:
        raise EvalError(f"{file}: not a file of W&B's")
    at, whole = 7, b""
    while at + CHUNK <= len(data):
        left = BLOCK - at % BLOCK
        if left < CHUNK:
            at += left
            continue
        crc, length, kind = struct.unpack("<IHB", data[at : at + CHUNK])
        part = data[at + CHUNK : at + CHUNK + length]
        if not kind or zlib.crc32(part, zlib.crc32(bytes([kind]))) != crc:
            return
        whole = part if kind in (FULL, FIRST) else whole + part
        at += CHUNK + length
        if kind in (FULL, LAST):
            yield whole


def history(folder: Path, run_id: str) -> Iterator[Mapping[str, Any]]:
    """What was logged to a W&B run, call by call, as its files in a run folder have it."""
    from wandb.proto import wandb_internal_pb2

    for file in sorted(file for one in run_folders(folder, run_id) for file in one.path.glob("run-*.wandb")):
        for record in records(file):
            one = wandb_internal_pb2.Record.FromString(record)
            if one.WhichOneof("record_type") == "history":
                yield {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in one.history.item}


def shown(folder: Path, run_id: str, axis: str) -> set[tuple[int, str]]:
    """(step, key) of all that a W&B run has; of a table or a picture the key is its own, without what it is made of."""
    found = set()
    for line in history(folder, run_id):
        if axis in line:
            found |= {(int(line[axis]), key.removesuffix("/_type")) for key in line}
    return found
