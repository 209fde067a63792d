"""Where numbers, tables and pictures are shown besides metrics.jsonl: W&B and TensorBoard, under the same keys."""

import io
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from eval_hooks.errors import EvalError
from eval_hooks.masking import masked, masked_words
from eval_hooks.visible import in_markdown

AXIS = "train/global_step"
"""The x axis of every key."""
OURS = ("eval/*", "val/*", "budget/*")
"""Keys of ours in a run that somebody else started; the axes of the others are theirs."""

REOPENED_AT_MOST = 3

Rows = Sequence[Mapping[str, Any]]


def start(settings: Mapping[str, Any] | None = None, **asked: Any) -> Any:
    """A W&B run, silent on the screen; neither its config nor the command that W&B notes has secrets in it."""
    import wandb

    words = sys.argv
    sys.argv = masked_words(words)  # W&B has no setting for it; its address of the git checkout has no password
    try:
        return wandb.init(**masked(asked), settings=wandb.Settings(quiet=True, console="off", **(settings or {})))
    finally:
        sys.argv = words


class Sink(Protocol):
    """Something that shows a run while it goes; what it raises is said once and ends nothing."""

    name: str

    def open(self) -> None:
        """Before the first number."""

    def scalars(self, step: int, values: Mapping[str, Any]) -> None:
        """Numbers and words of one step."""

    def table(self, step: int, key: str, rows: Rows) -> None:
        """A table; the first row's keys are its columns."""

    def picture(self, step: int, key: str, png: bytes) -> None:
        """A picture, as a PNG file's content."""

    def summary(self, step: int, values: Mapping[str, Any]) -> None:
        """What the run says so far: the newest of each key stands."""

    def alert(self, title: str, text: str) -> None:
        """Call somebody."""

    def reopen(self) -> str | None:
        """After a failure begin anew, if that can be, and say how."""


class Wandb:
    """A W&B run: `own`, started for this run folder, or somebody else's that is active in the process."""

    name = "W&B"

    def __init__(self, run: Any, own: bool) -> None:
        self.run, self.own, self.reopened = run, own, 0

    def open(self) -> None:
        """Name the x axis.

        The summary of a key stays its last value: with `max` or `min` W&B puts a map there, and a column of that name
        is empty.
        """
        self.run.define_metric(AXIS)
        for keys in ("*",) if self.own else OURS:
            self.run.define_metric(keys, step_metric=AXIS)

    def scalars(self, step: int, values: Mapping[str, Any]) -> None:
        """Without a `step=`: W&B counts calls itself, so that this goes together with what others log to the run."""
        self.run.log({**values, AXIS: step})

    def table(self, step: int, key: str, rows: Rows) -> None:
        """A wandb.Table."""
        import wandb

        columns = list(rows[0])
        self.scalars(
            step, {key: wandb.Table(columns=columns, data=[[row.get(name) for name in columns] for row in rows])}
        )

    def picture(self, step: int, key: str, png: bytes) -> None:
        """A wandb.Image."""
        import wandb
        from PIL import Image

        self.scalars(step, {key: wandb.Image(Image.open(io.BytesIO(png)))})

    def summary(self, step: int, values: Mapping[str, Any]) -> None:
        """The run's own summary: columns of the table of runs."""
        self.run.summary.update(dict(values))

    def alert(self, title: str, text: str) -> None:
        """Mail or Slack, as the account says; offline it is sent when the run is synced."""
        import wandb

        self.run.alert(title=title, text=text, level=wandb.AlertLevel.WARN)

    def reopen(self) -> str | None:
        """A further offline folder of the same run, where its process has died; `wandb sync` joins both."""
        if not self.own or self.reopened == REOPENED_AT_MOST:
            return None
        import wandb

        self.reopened += 1
        with suppress(Exception):  # its end is part of what is broken
            wandb.teardown()
        self.run = start(
            id=self.run.id, project=self.run.project, entity=self.run.entity, resume="allow", mode="offline",
            dir=str(Path(self.run.dir).resolve().parents[2]),
        )  # fmt: skip
        self.open()
        return f"begun anew in {Path(self.run.dir).parent}; `wandb sync` of both folders makes one run"


class TensorBoard:
    """Event files in a folder; every call is flushed, so that what ends a run loses nothing."""

    name = "TensorBoard"

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def open(self) -> None:
        """A new event file; TensorBoard reads all of a folder as one run."""
        from torch.utils.tensorboard import SummaryWriter

        self.writer = SummaryWriter(str(self.folder))

    def scalars(self, step: int, values: Mapping[str, Any]) -> None:
        """Numbers as scalars, words as text."""
        for key, value in values.items():
            if isinstance(value, str):
                self.writer.add_text(key, in_markdown(value), step)
            else:
                self.writer.add_scalar(key, value, step)
        self.writer.flush()

    def table(self, step: int, key: str, rows: Rows) -> None:
        """A text in Markdown."""
        columns = list(rows[0])
        lines = [
            [in_markdown(name) for name in columns],
            ["---"] * len(columns),
            *([in_markdown(row.get(name)) for name in columns] for row in rows),
        ]
        self.writer.add_text(key, "\n".join(f"| {' | '.join(line)} |" for line in lines), step)
        self.writer.flush()

    def picture(self, step: int, key: str, png: bytes) -> None:
        """An image."""
        import numpy as np
        from PIL import Image

        pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))
        self.writer.add_image(key, pixels, step, dataformats="HWC")
        self.writer.flush()

    def summary(self, step: int, values: Mapping[str, Any]) -> None:
        """Words of the step: TensorBoard has no other summary."""
        self.scalars(step, values)

    def alert(self, title: str, text: str) -> None:
        """Nobody to call; the reason is among the step's words."""

    def reopen(self) -> str | None:
        """There is nothing but a disk that could fail."""
        return None


def require_tensorboard() -> None:
    """Raise EvalError where the package is missing."""
    if find_spec("tensorboard") is None:
        raise EvalError(
            "track.tensorboard: the package tensorboard is not installed; pip install 'tempering[tensorboard]', or "
            "leave it out"
        )
