"""Files that are written whole or not at all, and where checkpoints lie."""

import os
import tempfile
from pathlib import Path

from eval_hooks.errors import EvalError

CALIBRATION = "calibration.json"
"""Fitted temperatures: in an evaluation's folder, and beside the checkpoint they belong to."""


def checkpoints(run: Path) -> dict[int, Path]:
    """Step -> folder of every checkpoint of a run folder, in order of step."""
    found = {int(file.name.rpartition("-")[2]): file for file in run.glob("checkpoints/checkpoint-*")}
    return dict(sorted(found.items()))


def evaluations(run: Path) -> dict[int, Path]:
    """Step -> folder of every evaluation of a run folder that is on disk whole, in order of step."""
    found = {int(file.parent.name.removeprefix("step-")): file.parent for file in run.glob("evals/step-*/summary.json")}
    return dict(sorted(found.items()))


def write_atomic(path: Path, data: bytes) -> None:
    """Write beside the file, flush to disk, rename into place; a reader sees the old file or the new one.

    Raises EvalError naming the path where the disk is full or read-only; the old file is then intact.
    """
    scratch = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}-", delete=False) as handle:
            scratch = handle.name
            handle.write(data)
            handle.flush()
            os.fsync(handle.fileno())
        os.chmod(scratch, 0o644)
        os.replace(scratch, path)
    except OSError as error:
        if scratch and os.path.exists(scratch):
            os.unlink(scratch)
        raise EvalError(
            f"{path}: cannot be written: {error.strerror or error}; free some space or choose a writable folder"
        ) from error


def beside_checkpoint(evaluation: Path, checkpoint: Path) -> None:
    """Copy an evaluation's temperatures into the checkpoint of the same step, where there are both."""
    if (evaluation / CALIBRATION).is_file() and checkpoint.is_dir():
        write_atomic(checkpoint / CALIBRATION, (evaluation / CALIBRATION).read_bytes())
