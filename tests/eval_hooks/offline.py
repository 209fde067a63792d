"""What W&B kept offline, read back from its own file."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eval_hooks.wandb_files import records


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
