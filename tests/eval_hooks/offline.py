"""What W&B kept offline, read back from its own file."""

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Offline:
    """One run as its file has it."""

    folder: Path
    id: str = ""
    history: list[dict[str, Any]] = field(default_factory=list)
    """One map a call of run.log; parts of a key are joined by `/`, as in `eval/x/table/path`."""
    summary: dict[str, Any] = field(default_factory=dict)
    axes: dict[str, str] = field(default_factory=dict)
    """Key or pattern -> its x axis."""
    alerts: list[tuple[str, str]] = field(default_factory=list)


def offline(folder: Path) -> Offline:
    """The newest offline run under a folder."""
    return offline_runs(folder)[-1]


def offline_runs(folder: Path) -> list[Offline]:
    """All of them, in the order of their dates."""
    return [_read(file) for file in sorted(folder.glob("wandb/offline-run-*/*.wandb"))]


def _read(file: Path) -> Offline:
    from wandb.proto import wandb_internal_pb2

    found = Offline(folder=file.parent)
    for record in records(file):
        one = wandb_internal_pb2.Record()
        one.ParseFromString(record)
        kind = one.WhichOneof("record_type")
        if kind == "run":
            found.id = one.run.run_id
        elif kind == "history":
            found.history.append(_items(one.history.item))
        elif kind == "summary":
            found.summary |= _items(one.summary.update)
        elif kind == "metric":
            found.axes[one.metric.name or one.metric.glob_name] = one.metric.step_metric
        elif kind == "alert":
            found.alerts.append((one.alert.title, one.alert.text))
    return found


def _items(items: Any) -> dict[str, Any]:
    return {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}


def records(file: Path) -> Iterator[bytes]:
    """Records of W&B's offline file: LevelDB's log format after a header of 7 bytes, in blocks of 32 KiB."""
    data, at, whole = file.read_bytes(), 7, b""
    while at + 7 <= len(data):
        left = 32768 - at % 32768
        if left < 7:
            at += left
            continue
        _, length, kind = struct.unpack("<IHB", data[at : at + 7])
        whole += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):
            yield whole
            whole = b""
