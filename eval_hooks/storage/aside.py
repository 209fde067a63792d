"""Evaluations and lines that a run goes back over are set aside in its folder: nothing that was measured is lost."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from eval_hooks.files import step_in, write_atomic
from eval_hooks.storage.inside import inside


def set_aside(root: Path, why: str, step: int) -> Path:
    """Move evaluations after a step into a folder under `aside/`, which is returned, and end metrics.jsonl there."""
    aside = inside(root, root / "aside" / f"{len(list(root.glob('aside/*'))) + 1}-{why}")
    aside.mkdir(parents=True)
    for folder in root.glob("evals/*"):
        if (at := step_in(folder.name, "step")) is not None and at > step:
            (aside / "evals").mkdir(exist_ok=True)
            shutil.move(inside(root, folder), aside / "evals" / folder.name)
    file = root / "metrics.jsonl"
    if file.is_file():
        lines = file.read_bytes().splitlines(keepends=True)
        shutil.move(file, aside / file.name)
        if kept := lines_upto(lines, step):
            write_atomic(file, b"".join(kept))
    return aside


def lines_upto(lines: Sequence[bytes], step: int) -> list[bytes]:
    """The lines of a metrics.jsonl up to a step; a line that a full disk or a kill has torn is left out."""
    return [line for line in lines if (at := _step_of(line)) is not None and at <= step]


def _step_of(line: bytes) -> int | None:
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return None
