"""Folders and files of somebody else's may lack anything, or have it of another kind: one sentence, no traceback."""

import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from eval_hooks.errors import EvalError

SHOW = "TEMPER_TRACEBACK"
"""Set to 1, the traceback is shown in place of the sentence."""
OURS = ("eval_hooks", "trainers", "launch", "data_mix")


@contextmanager
def reading(*folders: object) -> Iterator[None]:
    """Raise EvalError that names the folders for what code raises that finds another value than it wrote.

    The four packages' own errors, which are sentences, travel as they are; so do a lack of memory and an
    output that nobody reads any more, which are not the folder's fault, and the end of a command.
    """
    try:
        yield
    except Exception as error:
        ours = {kind.__module__.partition(".")[0] for kind in type(error).__mro__} & {*OURS, "click", "typer"}
        if ours or isinstance(error, BrokenPipeError) or lacks_memory(error) or os.environ.get(SHOW):
            raise
        raise EvalError(f"{', '.join(map(str, folders))}: {unreadable(error)}") from error


def lacks_memory(error: BaseException) -> bool:
    """Whether there was too little memory, as Python or torch says it."""
    return isinstance(error, MemoryError) or "out of memory" in str(error).lower()


def unreadable(error: BaseException) -> str:
    """What was found, and where our code met it."""
    own = [f for f in traceback.extract_tb(error.__traceback__) if set(Path(f.filename).parts) & set(OURS)]
    where = f", at {Path(own[-1].filename).name}:{own[-1].lineno}" if own else ""
    first = (str(error).strip().splitlines() or [""])[0][:200]
    return (
        f"cannot be read ({type(error).__name__}: {first}{where}): a file in it is missing, cut off or not one that "
        f"temper wrote; {SHOW}=1 shows more"
    )
