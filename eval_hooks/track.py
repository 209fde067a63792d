"""Every logged number: always a line in metrics.jsonl, and the same keys in W&B and TensorBoard where wanted."""

import math
import time
import warnings
from collections.abc import Callable, Mapping
from copy import copy
from pathlib import Path
from typing import Any

from eval_hooks.files import evaluations, json_lines, summary_of
from eval_hooks.json_text import json_text
from eval_hooks.masking import masked, masked_text
from eval_hooks.sinks import AXIS, Rows, Sink, TensorBoard, Wandb
from eval_hooks.storage.inside import append
from eval_hooks.visible import all_visible, visible
from eval_hooks.wandb_files import shown


class Tracker:
    """Appends to `metrics.jsonl` of a folder and shows the same in its sinks; the x axis is `train/global_step`.

    `offset` is added to every step: those of the runs before it in a pipeline. Without a W&B run of its own it uses the
    one that is active in the process, if any; `tensorboard` writes event files to the folder's `tensorboard/`. A sink
    that fails is said once and never stops training.
    """

    def __init__(self, folder: Path, wandb_run: Any = None, offset: int = 0, tensorboard: bool = False) -> None:
        self.offset = offset
        self.path = Path(folder) / "metrics.jsonl"
        run = wandb_run if wandb_run is not None else _active_run()
        self.sinks: list[Sink] = [Wandb(run, own=wandb_run is not None)] if run is not None else []
        if tensorboard:
            self.sinks.append(TensorBoard(Path(folder) / "tensorboard"))
        self._warned: set[str] = set()
        self._show(lambda sink: sink.open())

    def log(self, step: int, values: Mapping[str, Any]) -> None:
        """One line: step, time, and the values; NaN and infinity become null.

        It is appended in one piece: a watcher and the run that it watches write into the same file.
        """
        clean = {
            key: None if isinstance(value, float) and not math.isfinite(value) else value
            for key, value in masked(values).items()
        }
        step += self.offset
        self.path.parent.mkdir(parents=True, exist_ok=True)
        line = json_text({"step": step, "time": round(time.time(), 3), **clean}) + "\n"
        append(self.path, line.encode(), self.path.parent)
        there = {key: value for key, value in clean.items() if value is not None}
        self._show(lambda sink: sink.scalars(step, there), on_disk=True)

    def table(self, step: int, key: str, rows: Rows) -> None:
        """A table; the first row's keys are its columns."""
        shown_rows = all_visible(masked(rows))
        self._show(lambda sink: sink.table(step + self.offset, key, shown_rows))

    def figure(self, step: int, key: str, figure: Any) -> None:
        """A matplotlib figure as a picture."""
        from eval_hooks.report.parts import picture

        try:
            png = picture(figure, "png", dpi=120)
        except Exception as error:  # no fault of a sink's, which must not be opened anew for it
            said = f"{type(error).__name__}: {visible(error)}"
            warnings.warn(
                f"{key} cannot be drawn: {said}; the run goes on, every number is in {self.path}", stacklevel=2
            )
            return
        self._show(lambda sink: sink.picture(step + self.offset, key, png))

    def summary(self, step: int, values: Mapping[str, Any]) -> None:
        """What the run says so far, in words or numbers: columns of W&B's table of runs."""
        self._show(lambda sink: sink.summary(step + self.offset, masked(values)))

    def alert(self, title: str, text: str) -> None:
        """Call somebody, where a sink can."""
        self._show(lambda sink: sink.alert(visible(masked_text(title)), visible(masked_text(text))))

    def catch_up(self) -> None:
        """Show what is on disk and not in W&B's files: what it had not written yet when its process was killed."""
        for sink in self.sinks:
            if isinstance(sink, Wandb) and sink.own:
                try:
                    self._catch_up(sink)
                except Exception as error:
                    said = f"{type(error).__name__}: {error}"
                    warnings.warn(f"W&B: {said}; it may lack numbers that {self.path} has", stacklevel=2)

    def _catch_up(self, sink: Wandb) -> None:
        there = shown(self.path.parent, sink.run.id, AXIS)
        for line in json_lines(self.path):
            step = int(line["step"])
            late = {key: value for key, value in line.items() if key not in ("step", "time") and value is not None}
            if late := {key: value for key, value in late.items() if (step, key) not in there}:
                sink.scalars(step, late)
        for step, folder in evaluations(self.path.parent).items():
            summary = summary_of(folder)
            if any((step, key) not in there for key in flatten_summary(summary)):
                alone = copy(self)
                alone.sinks = [sink]
                show_pictures(alone, summary, step - self.offset)

    def _show(self, call: Callable[[Sink], None], on_disk: bool = False) -> None:
        """Call every sink; what is `on_disk` need not be shown again to one that is opened anew."""
        for sink in self.sinks:
            try:
                call(sink)
            except Exception as error:  # a tracker that is down must not end a run; everything is in metrics.jsonl
                said = f"{sink.name}: {type(error).__name__}: {error}"
                if again := self._again(sink, None if on_disk else call):
                    warnings.warn(f"{said}; {again}", stacklevel=3)
                elif sink.name not in self._warned:
                    warnings.warn(f"{said}; the run goes on, every number is in {self.path}", stacklevel=3)
                    self._warned.add(sink.name)

    def _again(self, sink: Sink, call: Callable[[Sink], None] | None) -> str | None:
        """Open a sink that failed anew and show it what it lacks; how that was done, or None."""
        try:
            done = sink.reopen() if sink.name not in self._warned else None
            if done:
                self.catch_up()
                if call:
                    call(sink)
        except Exception:
            return None
        return done


def _active_run() -> Any:
    """The W&B run of the process, if wandb is in use at all."""
    import sys

    wandb = sys.modules.get("wandb")
    return getattr(wandb, "run", None) if wandb is not None else None


def flatten_summary(summary: Mapping[str, Any]) -> dict[str, Any]:
    """A summary's numbers and verdicts under their W&B keys; what could not be had is left out."""
    out: dict[str, Any] = {}
    for name, task in summary["tasks"].items():
        out[f"eval/{name}/seconds"] = task.get("seconds")
        out[f"eval/{name}/failed"] = float(task.get("status") == "failed")
        out[f"eval/{name}/accuracy"] = (task.get("accuracy") or {}).get("value")
        out[f"eval/{name}/score"] = (task.get("score") or {}).get("value")
        out[f"eval/{name}/hit_limit"] = task.get("hit_limit")
        out |= {
            f"eval/{name}/calibration/{key}": value["value"] for key, value in (task.get("calibration") or {}).items()
        }
        out |= {f"eval/{name}/{key}": value["value"] for key, value in (task.get("metrics") or {}).items()}
        if kept := task.get("retention"):
            out |= {f"eval/{name}/retention/{key}": value for key, value in _of_retention(kept).items()}
    if spending := summary.get("spending"):
        out["budget/alpha_spent"] = spending["spent"]
    for name, entry in summary.get("validation", {}).items():
        out |= {f"val/{name}/{key}": value["value"] for key, value in entry.items() if isinstance(value, Mapping)}
    out |= {f"val/{name}/failed": 1.0 for name in summary.get("validation_failed", {})}
    return {key: value for key, value in out.items() if value is not None}


def _of_retention(kept: Mapping[str, Any]) -> dict[str, Any]:
    """Numbers of one look, and the run's own bounds with the word that rests on them."""
    ends = {"": "value", "_low": "low", "_high": "high"}
    run = kept.get("delta_run") or {}
    return {
        **{key: kept[key] for key in ("lost", "gained", "e_value", "e_value_drop")},
        **{key: kept.get(key) for key in ("log_e_value", "log_e_value_drop")},
        **{f"delta{end}": kept["delta"][key] for end, key in ends.items()},
        **{f"delta_run_{end}": run.get(end) for end in ("low", "high")},
        **{key: (kept.get(key) or {}).get("value") for key in ("churn", "forgetting", "backward_transfer")},
        "verdict": kept.get("verdict"),
    }


def verdicts(summary: Mapping[str, Any]) -> dict[str, str]:
    """What a summary says of each task, for the table of runs: role, status, and its verdict in a sentence."""
    from eval_hooks.report.words import kept

    out: dict[str, str] = {}
    for name, task in summary["tasks"].items():
        out |= {f"eval/{name}/role": task["role"], f"eval/{name}/status": task["status"]}
        if found := task.get("retention"):
            out[f"eval/{name}/retention/says"] = kept(found)
    return out


TABLES = {
    "flips": ("flip", "item_id", "subject", "question", "gold", "before", "after", "conf_before", "conf_after"),
    "samples": ("item_id", "prompt", "output", "gold", "correct"),
}
"""Lists of a task's entry that are shown as tables, with their columns."""


def show_summary(tracker: Tracker, summary: Mapping[str, Any], step: int) -> None:
    """The summary in every sink: numbers, verdicts, tables (subjects, flips, samples), a reliability diagram.

    What cannot be drawn is said: showing ends no run.
    """
    tracker.log(step, flatten_summary(summary))
    try:
        show_pictures(tracker, summary, step)
    except Exception as error:
        said = f"{type(error).__name__}: {visible(error)}"
        warnings.warn(
            f"step {step} cannot be drawn: {said}; the run goes on, every number is in {tracker.path}", stacklevel=2
        )


def show_pictures(tracker: Tracker, summary: Mapping[str, Any], step: int) -> None:
    """The same without the numbers."""
    tracker.summary(step, verdicts(summary))
    for name, task in summary["tasks"].items():
        for group in ("subject", "category"):
            if found := task.get(f"by_{group}"):
                tracker.table(step, f"eval/{name}/by_{group}", [{group: key, **entry} for key, entry in found.items()])
        for kind, columns in TABLES.items():
            if task.get(kind):
                rows = [{column: row[column] for column in columns} for row in task[kind]]
                tracker.table(step, f"eval/{name}/{kind}", rows)
        if task.get("reliability") and tracker.sinks:
            from eval_hooks.report.png import reliability_figure

            tracker.figure(step, f"eval/{name}/reliability", reliability_figure(task["reliability"]))
