"""metrics.jsonl and W&B carry the same keys; a W&B that is down ends nothing."""

import json
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from eval_hooks.track import Tracker, show_summary
from tests.eval_hooks.runs import run_folder

ROOT = Path(__file__).parents[2]


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_nan_and_infinity_become_null(tmp_path: Path) -> None:
    Tracker(tmp_path).log(3, {"a": float("nan"), "b": float("inf"), "c": 1.5})
    (line,) = lines(tmp_path)
    assert (line["step"], line["a"], line["b"], line["c"]) == (3, None, None, 1.5)


def test_lines_of_two_writers_are_whole(tmp_path: Path) -> None:
    """A run and its watcher append at once, lines of 20,000 characters, more than any buffer; all can be read."""
    code = (
        "import sys; from pathlib import Path; from eval_hooks.track import Tracker\n"
        "for i in range(50): Tracker(Path(sys.argv[1])).log(i, {'who': sys.argv[2] * 20_000})"
    )
    writers = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path), who], cwd=ROOT) for who in "ab"]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    written = lines(tmp_path)
    assert sorted((line["who"][0], line["step"]) for line in written) == [(who, i) for who in "ab" for i in range(50)]
    assert all(len(line["who"]) == 20_000 for line in written)


class Down:
    """A W&B run whose server is gone."""

    def define_metric(self, *args: Any, **kwargs: Any) -> None: ...

    def log(self, values: Any) -> None:
        raise ConnectionError("no route")


def test_a_wandb_that_is_down_is_said_once_and_every_number_is_on_disk(tmp_path: Path) -> None:
    tracker = Tracker(tmp_path, Down())
    with pytest.warns(UserWarning, match="no route; the run goes on") as said:
        for step in range(3):
            tracker.log(step, {"a": step})
    assert len(said) == 1
    assert [line["a"] for line in lines(tmp_path)] == [0, 1, 2]


def test_a_picture_or_table_that_cannot_be_made_ends_nothing_either(tmp_path: Path) -> None:
    tracker = Tracker(tmp_path, Down())
    with pytest.warns(UserWarning, match="the run goes on"):
        tracker.figure(1, "eval/x/reliability", figure=None)
    tracker.table(1, "eval/x/by_subject", [])


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


def test_the_same_keys_are_in_wandbs_own_offline_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import wandb
    from wandb.proto import wandb_internal_pb2

    monkeypatch.setenv("WANDB_SILENT", "true")
    run = wandb.init(project="t", mode="offline", dir=str(tmp_path), settings=wandb.Settings(console="off"))
    summary = json.loads((run_folder(tmp_path / "run") / "evals" / "step-20" / "summary.json").read_text())
    show_summary(Tracker(tmp_path / "out", run), summary, summary["step"])
    run.finish()
    wandb.teardown()  # waits for the process that writes the file
    keys: set[str] = set()
    for record in records(next(tmp_path.glob("wandb/offline-run-*/*.wandb"))):
        parsed = wandb_internal_pb2.Record()
        parsed.ParseFromString(record)
        names = [item.key or "/".join(item.nested_key) for item in parsed.history.item]
        keys |= {name.removesuffix("/_type") for name in names}
    numbers = {key for line in lines(tmp_path / "out") for key in line} - {"step", "time"}
    assert numbers <= keys
    assert {"eval/pocket/accuracy", "eval/pocket/retention/delta", "eval/pocket/calibration/ece"} <= keys
    assert {"eval/pocket/by_subject", "eval/pocket/reliability", "eval/sql/samples", "train/global_step"} <= keys
