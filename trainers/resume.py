"""From where a run goes on: its newest whole checkpoint. What came after it is set aside, and nothing is deleted.

A run that is begun again from there is, bit for bit, the run that was never broken off.
"""

import os
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from eval_hooks.callback import Due
from eval_hooks.control import ledger
from eval_hooks.files import (
    checkpoints,
    completed,
    evaluations,
    is_whole,
    step_in,
    summary_of,
    whole_checkpoints,
    write_atomic,
    write_json,
)
from eval_hooks.storage.aside import lines_upto, set_aside
from eval_hooks.storage.inside import inside
from trainers import TrainError, actions, announce
from trainers.changes import Changed
from trainers.eval_tokenizer import FOLDER as EVAL_TOKENIZER
from trainers.inputs import FILE as INPUTS
from trainers.rundir import MANIFEST, Place, read_status, set_status

SAYING = ("recipe.yaml", "recipe.resolved.json", "environment.json", MANIFEST, INPUTS)
"""Files of a run folder that say what the run is."""


def newest_step(folder: Path) -> int:
    """The step of the newest whole checkpoint; 0, the start, where there is none."""
    return max(whole_checkpoints(folder), default=0)


def go_on(place: Place) -> int:
    """The step to go on from; what lies after it is in `aside/` then. For the writing rank."""
    step = newest_step(place.folder)
    broken = [one for one in place.folder.glob("checkpoints/*") if (step_in(one.name, "checkpoint") or 0) > step]
    after = place.offset + step or -1  # at the start of a later stage is the end of the one before
    late = [at for at in evaluations(place.root) if at > after]
    lines = _lines_after(place.root / "metrics.jsonl", after)
    said = [
        *(f"{folder.name} (half written)" for folder in broken),
        *(f"the evaluation of step {at}" for at in late),
        *([f"{lines} logged lines"] if lines else []),
    ]
    where = f"checkpoint-{step}" if step else "the start: there is no whole checkpoint yet"
    announce(f"resume    from {where}")
    if said:
        aside = set_aside(place.root, f"resumed-at-{step}", after)
        for folder in broken:
            shutil.move(inside(place.folder, folder), aside / folder.name)
        announce(f"resume    set aside in {aside}: {', '.join(said)}")
    return step


def _lines_after(file: Path, step: int) -> int:
    lines = file.read_bytes().splitlines() if file.is_file() else []
    return len(lines) - len(lines_upto(lines, step))


def decided(place: Place, step: int) -> tuple[list[actions.Taken], str | None]:
    """(the budget's actions so far, why it ends the run at the step to go on from).

    A run may be killed between a decision and its carrying out: then that is done now. What only changes the optimizer
    is in the checkpoint. For the writing rank.
    """
    taken = actions.read(place.folder)
    budget = summary_of(place.root / "evals" / f"step-{place.offset + step}").get("budget") or {}
    action = budget.get("action") if step else None
    reason = "; ".join(budget.get("crossed", ()))
    if action == "stop":
        return taken, reason
    if action in ("replay", "kl") and all(one.step != step for one in taken):
        taken = [*taken, actions.carry_out(Due(action=action, step=step, reason=reason), place)]
    return taken, None


def note_start(folder: Path, changed: Changed | None) -> None:
    """status.json: the run is running; with what is not as it was, where it has run before."""
    before = read_status(folder).get("resumed", [])
    again: list[dict[str, Any]] = []
    if changed is not None:
        again = [{"time": time.time(), "changed": [*changed.lines]}]
    if changed and changed.unchecked:
        again[0]["unchecked"] = [*changed.unchecked]
    set_status(folder, "running", resumed=[*before, *again], doing=None)


def keep_old(folder: Path, changed: Changed | None) -> None:
    """Copy what says what the run was into `aside/`, where it is about to be written otherwise."""
    there = [folder / name for name in SAYING if (folder / name).is_file()]
    if changed and changed.lines and there:
        aside = inside(folder, folder / "aside" / f"{len(list(folder.glob('aside/*'))) + 1}-before-it-changed")
        aside.mkdir(parents=True)
        for file in there:
            shutil.copy2(file, aside / file.name)
        announce(f"resume    what the run was is kept in {aside}")


def fork(origin: Path, step: int, folder: Path, changed: Sequence[str]) -> None:
    """Let a new run folder begin at a checkpoint of another run: with what was measured up to there, and its actions.

    Files of the checkpoint are links, so that it costs no disk; the W&B run is the new folder's own. status.json names
    the origin, and what of the recipe was `changed`.
    """
    there = origin / "checkpoints" / f"checkpoint-{step}"
    shutil.copytree(there, folder / "checkpoints" / there.name, copy_function=link)
    for at, evaluation in evaluations(origin).items():
        if at <= step:
            shutil.copytree(evaluation, folder / "evals" / evaluation.name, copy_function=link)
    if (origin / EVAL_TOKENIZER).is_dir():
        shutil.copytree(origin / EVAL_TOKENIZER, folder / EVAL_TOKENIZER)
    if (origin / INPUTS).is_file():
        shutil.copy2(origin / INPUTS, folder / INPUTS)
    if (origin / "metrics.jsonl").is_file():
        lines = lines_upto((origin / "metrics.jsonl").read_bytes().splitlines(keepends=True), step)
        write_atomic(folder / "metrics.jsonl", b"".join(lines))
    ledger.copy_upto(origin, folder, step)
    if taken := [one for one in actions.read(origin) if one.step <= step]:
        write_json(folder / actions.FILE, {"taken": [asdict(one) for one in taken]})
    set_status(folder, "running", origin=f"{origin}:{step}", changed=changed)
    announce(f"fork      of {origin}, checkpoint-{step}, into {folder}")


def link(file: str, to: str) -> None:
    """A hard link, or a copy where the file system has none, or the file is somebody else's, who could change it."""
    try:
        if Path(file).stat().st_uid != os.getuid():
            raise PermissionError(file)
        os.link(file, to)
    except OSError:
        shutil.copy2(file, to)


def check_fork(origin: Path, step: int) -> None:
    """Raise TrainError where a run cannot be forked at a step: there is no checkpoint of it, or not all of one."""
    there = checkpoints(origin)
    whole = f"whole ones: {', '.join(map(str, whole_checkpoints(origin))) or 'none'}"
    if step not in there:
        raise TrainError(f"--resume {origin}:{step}: no checkpoint at step {step}; {whole}")
    if not is_whole(there[step]):
        raise TrainError(
            f"--resume {origin}:{step}: {there[step]} cannot be resumed from ({', '.join(_missing(there[step]))}); "
            f"{whole}; model.path={origin}:{step} starts anew from its weights"
        )


def _missing(folder: Path) -> Iterator[str]:
    said = completed(folder)
    if not said:
        yield "complete.json is not there"
        return
    for name, size in said["files"].items():
        file = folder / name
        if not file.is_file():
            yield f"{name} is not there"
        elif file.stat().st_size != size:
            yield f"{name} has {file.stat().st_size:,} of {size:,} bytes"
