"""The run folder: free, writable, and not one that another run is writing."""

import os
from pathlib import Path

from launch.findings import Finding, bad, ok, warn
from launch.preflight.subject import Subject
from trainers.rundir import check_free, next_folder, read_status, trains


def check(subject: Subject) -> list[Finding]:
    """Raises TrainError for a --run-dir in use."""
    check_free(subject.run_dir, resume=False)
    first = subject.runs / subject.recipe.name
    folder = subject.run_dir or next_folder(subject.recipe, subject.runs)
    there = nearest_folder(folder)
    if not os.access(there, os.W_OK):
        return [bad(f"{folder}: {there} cannot be written", "name another one with --run-dir")]
    if folder != first and trains(first):
        return [warn(f"a run is at work in {first}; this one would go to {folder}", "wait, or give it a --run-dir")]
    if folder != first and subject.run_dir is None:
        state = read_status(first).get("state", "there")
        return [ok(f"{folder}, since {first} is used ({state}); --resume would go on with that")]
    return [ok(f"{folder}, free")]


def nearest_folder(folder: Path) -> Path:
    """The folder itself, or the first above it that is there."""
    whole = folder.resolve()
    return next(path for path in (whole, *whole.parents) if path.is_dir())
