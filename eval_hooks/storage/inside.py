"""A run folder's paths lead nowhere else: a stranger's folder may hold links to files of ours.

Before a folder is read for a report, gone on with or measured, `check_folder` looks at all of it. What is appended to,
moved or deleted is looked at again when that is done, since a folder may change while a watcher looks at it.
"""

import errno
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from eval_hooks.errors import EvalError

WANDB_LOGS = ("wandb", "logs")
"""W&B links its logs to the user's cache from wandb/RUN/logs; nobody here follows those."""
SHOWN = 5
"""Entries that a message names."""


def inside(root: Path, path: Path) -> Path:
    """The path, which may not be there yet. Raises EvalError where links take it out of the folder."""
    whole, place = path.resolve(), root.resolve()
    if whole != place and not whole.is_relative_to(place):
        raise EvalError(f"{path}: leads to {whole}, outside of {root}; remove that link, or copy what it points to")
    return path


def check_folder(root: Path) -> None:
    """Raise EvalError with all entries that lead out of a folder, or are neither file nor folder.

    Reading a pipe would wait for ever; a device has no end.
    """
    found = list(_doubtful(root))
    if found:
        more = f"; and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
        raise EvalError(
            f"{root}: not a folder that temper wrote: {'; '.join(found[:SHOWN])}{more}; remove these, or copy what "
            "links point to (for another disk link the run folder itself)"
        )


def _doubtful(root: Path) -> Iterator[str]:
    place = root.resolve()
    for at, folders, files in os.walk(place):
        parts = Path(at).relative_to(place).parts
        logs = len(parts) == 3 and (parts[0], parts[2]) == WANDB_LOGS
        for name in (*folders, *files):
            entry, where = Path(at, name), Path(*parts, name)
            try:
                mode = entry.lstat().st_mode
            except FileNotFoundError:  # deleted by a run that is at work
                continue
            if stat.S_ISLNK(mode):
                if not logs and not _within(entry, place):
                    yield f"{where} is a link to {entry.readlink()}"
            elif not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                yield f"{where} is a pipe, socket or device"


def _within(link: Path, place: Path) -> bool:
    try:
        return link.resolve().is_relative_to(place)
    except (OSError, RuntimeError):  # a circle of links
        return False


def remove(path: Path, root: Path) -> None:
    """Delete a file or a folder below `root`; of a link the link, never what it points to.

    Raises EvalError where the way there leads out of the folder.
    """
    inside(root, path.parent)
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
    else:
        shutil.rmtree(path)


def append(path: Path, data: bytes, root: Path) -> None:
    """Add to the end of a file below `root`, in one piece, so that two processes may write to one file.

    Raises EvalError for a file that is a link, has another name elsewhere (a hard link), or is no ordinary file.
    """
    inside(root, path.parent)
    other = EvalError(f"{path}: not a file of this folder alone; remove it, or copy it and put the copy there")
    try:
        handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO, errno.EISDIR):  # a link, a pipe that nobody reads, a folder
            raise other from error
        raise
    try:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
            raise other
        os.write(handle, data)
    finally:
        os.close(handle)
