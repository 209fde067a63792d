"""Files that are written whole or not at all, and where checkpoints lie."""

import os
import re
import secrets
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from eval_hooks.errors import EvalError
from eval_hooks.json_text import json_bytes, parse_json, shown
from eval_hooks.masking import masked
from eval_hooks.names import RULE, is_name

CALIBRATION = "calibration.json"
"""Fitted temperatures: in an evaluation's folder, and beside the checkpoint they belong to."""
COMPLETE = "complete.json"
"""A checkpoint's list of its files, written last."""


def checkpoints(run: Path) -> dict[int, Path]:
    """Step -> folder of every checkpoint of a run folder, in order of step."""
    return _by_step(run.glob("checkpoints/*"), "checkpoint")


def saved_at(output_dir: str, step: int) -> Path:
    """Where transformers saves a step."""
    return Path(output_dir) / f"checkpoint-{step}"


def evaluations(run: Path) -> dict[int, Path]:
    """Step -> folder of every evaluation of a run folder that is on disk whole, in order of step."""
    return _by_step((file.parent for file in run.glob("evals/*/summary.json")), "step")


def _by_step(folders: Iterable[Path], word: str) -> dict[int, Path]:
    """Those called WORD-STEP, in order of step; what else lies there, a copy of somebody's, say, is passed over."""
    named = ((step_in(folder.name, word), folder) for folder in folders if folder.is_dir())
    return dict(sorted((step, folder) for step, folder in named if step is not None))


def step_in(name: str, word: str) -> int | None:
    """The step of a folder called WORD-STEP as a run writes it; None for any other name, `checkpoint-007` too."""
    found = re.fullmatch(rf"{word}-(0|[1-9][0-9]{{0,17}})", name)
    return int(found[1]) if found else None


def summary_of(folder: Path) -> dict[str, Any]:
    """What an evaluation's summary.json says; {} where there is none.

    Raises EvalError for one that cannot be read, and for a name in it that would lead to a file elsewhere.
    """
    file = folder / "summary.json"
    summary = read_json(file)
    for part in ("tasks", "validation"):
        entries = summary.get(part, {})
        if not isinstance(entries, dict) or not all(isinstance(entry, dict) for entry in entries.values()):
            raise EvalError(f"{file}: {part}: a map of maps is due; it is no evaluation's summary")
        if wrong := [name for name in entries if not is_name(name)]:
            raise EvalError(f"{file}: {part}: {shown(wrong[0])} is no name ({RULE}); it was not written here")
    return summary


def whole_checkpoints(run: Path) -> dict[int, Path]:
    """Those that are whole and can be resumed from: every file that `complete.json` lists is there with its size."""
    return {step: folder for step, folder in checkpoints(run).items() if is_whole(folder)}


def mark_whole(folder: Path, step: int, ranks: int) -> None:
    """Write complete.json: the checkpoint's step, ranks and files with their sizes in bytes.

    For the last one to write, when all ranks have: transformers writes a checkpoint file by file, and every rank its
    own random state.
    """
    files = {str(file.relative_to(folder)): file.stat().st_size for file in sorted(folder.rglob("*")) if file.is_file()}
    for later in (COMPLETE, CALIBRATION):
        files.pop(later, None)
    write_json(folder / COMPLETE, {"step": step, "ranks": ranks, "files": files})


def completed(folder: Path) -> dict[str, Any]:
    """What a checkpoint's complete.json says; {} where there is none, or none that can be read."""
    try:
        found = parse_json((folder / COMPLETE).read_bytes(), str(folder / COMPLETE))
        return found if isinstance(found["files"], dict) else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def is_whole(folder: Path) -> bool:
    """Whether a checkpoint's files are all there, each as long as it was when it was saved."""
    said = completed(folder)
    return bool(said) and all(_size(folder / name) == size for name, size in said["files"].items())


def _size(file: Path) -> int | None:
    try:
        return file.stat().st_size
    except OSError:
        return None


def json_lines(file: Path) -> list[dict[str, Any]]:
    """The lines of a .jsonl that are whole; none of a file that is not there.

    One that is being written, or that a kill or a full disk has torn, is left out.
    """
    rows = []
    for line in file.read_text("utf-8", errors="replace").splitlines() if file.is_file() else ():
        try:
            row = parse_json(line, str(file))
        except EvalError:
            continue
        if isinstance(row, dict):
            rows.append(row)
    return rows


def read_json(file: Path) -> dict[str, Any]:
    """What a JSON file says; {} where there is none. Raises EvalError where it cannot be read, or holds no map."""
    if not file.is_file():
        return {}
    found = parse_json(file.read_bytes(), str(file))
    if not isinstance(found, dict):
        raise EvalError(f"{file}: a map is due, as {{...}}; it holds {shown(found)}")
    return found


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """A JSON file, whole or not at all, without secrets."""
    write_atomic(path, json_bytes(masked(value), indent=2) + b"\n")


def write_atomic(path: Path, data: bytes) -> None:
    """Write beside the file, flush to disk, rename into place; a reader sees the old file or the new one.

    It has the permissions that the user's umask leaves. A link of that name is replaced, and what it points to stays.
    Raises EvalError naming the path where the disk is full or read-only; the old file is then intact.
    """
    scratch = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with scratch.open("xb") as handle:
            handle.write(data)
            handle.flush()
            os.fsync(handle.fileno())
        os.replace(scratch, path)
    except OSError as error:
        with suppress(OSError):
            scratch.unlink()
        raise EvalError(
            f"{path}: cannot be written: {error.strerror or error}; free some space or choose a writable folder"
        ) from error


def beside_checkpoint(evaluation: Path, checkpoint: Path) -> None:
    """Copy an evaluation's temperatures into the checkpoint of the same step, where there are both."""
    if (evaluation / CALIBRATION).is_file() and checkpoint.is_dir():
        write_atomic(checkpoint / CALIBRATION, (evaluation / CALIBRATION).read_bytes())
