"""Files that are written whole or not at all, and where checkpoints lie."""

import json
import os
import tempfile
from pathlib import Path
from typing import Any

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


def summary_of(folder: Path) -> dict[str, Any]:
    """What an evaluation's summary.json says; {} where there is none."""
    file = folder / "summary.json"
    return json.loads(file.read_text("utf-8")) if file.is_file() else {}


def whole_checkpoints(run: Path) -> dict[int, Path]:
    """Those that are whole: transformers writes trainer_state.json last.

    After weights, optimizer, DeepSpeed's shards with their `latest`, and the random state (Trainer._save_checkpoint);
    not in one piece, so it must also parse.
    """
    return {step: folder for step, folder in checkpoints(run).items() if _saved_step(folder) == step}


def _saved_step(folder: Path) -> int | None:
    """What trainer_state.json says; None where it is not there or not whole."""
    try:
        return int(json.loads((folder / "trainer_state.json").read_text("utf-8"))["global_step"])
    except (OSError, ValueError, KeyError):
        return None


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
