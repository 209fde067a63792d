"""Every logged number: always a line in metrics.jsonl, and the same keys in W&B where there is a run."""

import json
import math
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any


class Tracker:
    """Appends to `metrics.jsonl` of a folder and logs to a W&B run; the x axis is `train/global_step`.

    `offset` is added to every step: those of the runs before it in a pipeline. Without a run of its own it uses the one
    that is active in the process, if any. A failing W&B is said once and never
    stops training.
    """

    def __init__(self, folder: Path, wandb_run: Any = None, offset: int = 0) -> None:
        self.offset = offset
        self.path = Path(folder) / "metrics.jsonl"
        self.run = wandb_run if wandb_run is not None else _active_run()
        self._warned = False
        if self.run is not None:
            self._try(lambda: self.run.define_metric("train/global_step"))
            self._try(lambda: self.run.define_metric("*", step_metric="train/global_step"))

    def log(self, step: int, values: Mapping[str, Any]) -> None:
        """One line: step, time, and the values; NaN and infinity become null.

        It is appended in one piece: a watcher and the run that it watches write into the same file.
        """
        clean = {
            key: None if isinstance(value, float) and not math.isfinite(value) else value
            for key, value in values.items()
        }
        step += self.offset
        self.path.parent.mkdir(parents=True, exist_ok=True)
        line = json.dumps({"step": step, "time": round(time.time(), 3), **clean}) + "\n"
        with self.path.open("ab", buffering=0) as handle:
            handle.write(line.encode())
        self._send(step, {key: value for key, value in clean.items() if value is not None})

    def table(self, step: int, key: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """A table in W&B; the first row's keys are its columns."""

        def made() -> Any:
            import wandb

            columns = list(rows[0])
            return wandb.Table(columns=columns, data=[[row.get(name) for name in columns] for row in rows])

        self._show(step, key, made)

    def figure(self, step: int, key: str, figure: Any) -> None:
        """A matplotlib figure as a picture in W&B."""

        def made() -> Any:
            import io

            import wandb
            from PIL import Image

            from eval_hooks.report.parts import picture

            return wandb.Image(Image.open(io.BytesIO(picture(figure, "png", dpi=120))))

        self._show(step, key, made)

    def _show(self, step: int, key: str, made: Callable[[], Any]) -> None:
        """Make and send one thing; what goes wrong with it ends no run."""
        if self.run is not None:
            self._try(lambda: self.run.log({key: made(), "train/global_step": step + self.offset}))

    def _send(self, step: int, values: Mapping[str, Any]) -> None:
        if self.run is not None:
            self._try(lambda: self.run.log({**values, "train/global_step": step}))

    def _try(self, call: Callable[[], Any]) -> None:
        try:
            call()
        except Exception as error:  # a tracker that is down must not end a run; everything is in metrics.jsonl
            if not self._warned:
                warnings.warn(
                    f"W&B: {type(error).__name__}: {error}; the run goes on, every number is in {self.path}",
                    stacklevel=2,
                )
            self._warned = True


def _active_run() -> Any:
    """The W&B run of the process, if wandb is in use at all."""
    import sys

    wandb = sys.modules.get("wandb")
    return getattr(wandb, "run", None) if wandb is not None else None


def flatten_summary(summary: Mapping[str, Any]) -> dict[str, Any]:
    """A summary's numbers under their W&B keys; what could not be had is left out."""
    out: dict[str, Any] = {}
    for name, task in summary["tasks"].items():
        out[f"eval/{name}/seconds"] = task.get("seconds")
        out[f"eval/{name}/failed"] = float(task.get("status") != "ok")
        out[f"eval/{name}/accuracy"] = (task.get("accuracy") or {}).get("value")
        out[f"eval/{name}/hit_limit"] = task.get("hit_limit")
        out |= {
            f"eval/{name}/calibration/{key}": value["value"] for key, value in (task.get("calibration") or {}).items()
        }
        out |= {f"eval/{name}/{key}": value["value"] for key, value in (task.get("metrics") or {}).items()}
        if kept := task.get("retention"):
            delta = kept["delta"]
            out |= {f"eval/{name}/retention/{key}": kept[key] for key in ("lost", "gained", "e_value")}
            out |= {
                f"eval/{name}/retention/delta{end}": delta[key]
                for end, key in (("", "value"), ("_low", "low"), ("_high", "high"))
            }
    for name, entry in summary.get("validation", {}).items():
        out |= {f"val/{name}/{key}": value["value"] for key, value in entry.items() if isinstance(value, Mapping)}
    return {key: value for key, value in out.items() if value is not None}


def show_summary(tracker: Tracker, summary: Mapping[str, Any], step: int) -> None:
    """The summary in W&B: numbers, a table by subject, the reliability diagram, sample generations."""
    tracker.log(step, flatten_summary(summary))
    for name, task in summary["tasks"].items():
        if task.get("by_subject"):
            rows = [{"subject": subject, **entry} for subject, entry in task["by_subject"].items()]
            tracker.table(step, f"eval/{name}/by_subject", rows)
        if task.get("reliability") and tracker.run is not None:
            from eval_hooks.report.png import reliability_figure

            tracker.figure(step, f"eval/{name}/reliability", reliability_figure(task["reliability"]))
        if task.get("samples"):
            keys = ("item_id", "prompt", "output", "gold", "correct")
            tracker.table(step, f"eval/{name}/samples", [{key: s[key] for key in keys} for s in task["samples"]])
