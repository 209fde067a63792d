"""metrics.jsonl and W&B carry the same keys; a W&B that is down ends nothing."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from eval_hooks.errors import EvalError
from eval_hooks.sinks import require_tensorboard
from eval_hooks.track import Tracker, show_summary
from tests.eval_hooks.offline import offline
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


def test_tensorboard_has_the_same_keys_and_the_picture(tmp_path: Path) -> None:
    """Read back by TensorBoard itself; a pipeline's second run, with an offset, goes on in the same folder."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    summary = json.loads((run_folder(tmp_path / "run", skill=-1.0) / "evals/step-20/summary.json").read_text())
    show_summary(Tracker(tmp_path / "out", tensorboard=True), summary, 20)
    Tracker(tmp_path / "out", offset=20, tensorboard=True).log(5, {"train/loss": 1.5, "a": float("nan")})
    read = EventAccumulator(str(tmp_path / "out" / "tensorboard")).Reload()
    first, second = lines(tmp_path / "out")
    said = {"eval/pocket/retention/verdict", "eval/sql/retention/verdict"}
    assert first["eval/pocket/retention/verdict"] == "dropped" and said <= first.keys()
    assert set(read.Tags()["scalars"]) == {*first, "train/loss"} - {"step", "time"} - said
    for key in first.keys() - {"step", "time"} - said:
        (event,) = read.Scalars(key)
        assert event.step == 20 and event.value == pytest.approx(first[key], rel=1e-6)
    assert [(event.step, event.value) for event in read.Scalars("train/loss")] == [(second["step"], 1.5)]
    (picture,) = read.Images("eval/pocket/reliability")
    assert picture.step == 20 and picture.encoded_image_string.startswith(b"\x89PNG")
    words = {tag.removesuffix("/text_summary") for tag in read.Tags()["tensors"]}
    assert {"eval/pocket/retention/verdict", "eval/pocket/flips", "eval/sql/samples"} <= words


def test_a_missing_tensorboard_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    require_tensorboard()
    monkeypatch.setattr("eval_hooks.sinks.find_spec", lambda name: None)
    with pytest.raises(EvalError, match=r"pip install 'tempering\[tensorboard\]'"):
        require_tensorboard()


class Listening:
    """A W&B run that remembers which axes it was told."""

    def __init__(self) -> None:
        self.axes: list[tuple[Any, ...]] = []

    def define_metric(self, name: str, step_metric: str | None = None) -> None:
        self.axes.append((name, step_metric))


def test_somebody_elses_run_keeps_its_own_axes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import wandb

    own, theirs = Listening(), Listening()
    Tracker(tmp_path, own)
    monkeypatch.setattr(wandb, "run", theirs)
    Tracker(tmp_path)
    x = "train/global_step"
    assert own.axes == [(x, None), ("*", x)]
    assert theirs.axes == [(x, None), ("eval/*", x), ("val/*", x), ("budget/*", x)]


def test_the_same_keys_are_in_wandbs_own_offline_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import wandb

    monkeypatch.setenv("WANDB_SILENT", "true")
    run = wandb.init(project="t", mode="offline", dir=str(tmp_path), settings=wandb.Settings(console="off"))
    folder = run_folder(tmp_path / "run", skill=-1.0)
    tracker = Tracker(tmp_path / "out", run)
    for step in (0, 20):
        show_summary(tracker, json.loads((folder / f"evals/step-{step}/summary.json").read_text()), step)
    tracker.alert("budget crossed", "pocket: accuracy fell")
    run.finish()
    wandb.teardown()  # waits for the process that writes the file
    found = offline(tmp_path)
    keys = {key.removesuffix("/_type") for row in found.history for key in row}
    numbers = {key for line in lines(tmp_path / "out") for key in line} - {"step", "time"}
    assert numbers <= keys
    assert {"eval/pocket/accuracy", "eval/pocket/retention/delta", "eval/pocket/calibration/ece"} <= keys
    assert {"eval/pocket/by_subject", "eval/pocket/reliability", "eval/sql/samples", "eval/sql/flips"} <= keys
    assert [row["_step"] for row in found.history] == list(range(len(found.history)))
    says = [found.summary[f"eval/pocket/{key}"] for key in ("role", "status", "retention/verdict")]
    assert says == ["retain", "ok", "dropped"]
    assert found.summary["eval/pocket/retention/says"].startswith("dropped: ")
    assert found.alerts == [("budget crossed", "pocket: accuracy fell")]
    (path,) = {row["eval/pocket/flips/path"] for row in found.history if "eval/pocket/flips/path" in row}
    table = json.loads((found.folder / "files" / path).read_text())
    first = dict(zip(table["columns"], table["data"][0], strict=True))
    assert first["flip"] == "lost" and first["question"].endswith("?") and first["conf_after"] > 0.25
