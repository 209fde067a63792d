"""What to do about a failure that has a usual cause."""

import errno
from pathlib import Path

from trainers.memory.lighter import lighter
from trainers.recipe import Recipe
from trainers.resume import newest_step

FULL = ("No space left on device", "os error 28", "PytorchStreamWriter failed", "Disk quota exceeded")
MEMORY = ("can't allocate memory", "not enough memory", "out of memory", "Cannot allocate memory")
WORKER = ("DataLoader worker",)
OTHER_RANK = (
    "Timed out waiting", "Connection closed by peer", "Connection reset by peer", "Watchdog caught collective",
    "ncclRemoteError", "Broken pipe",
)  # fmt: skip


def advice(error: BaseException, folder: Path, recipe: Recipe) -> str | None:
    """The failure with its remedy, in a sentence or two; None for one that only its traceback explains."""
    said = " ".join(f"{type(error).__name__}: {error}".split())[:600]
    remedy = _remedy(error, said, recipe)
    if remedy is None:
        return None
    step = newest_step(folder)
    again = f"--resume goes on from checkpoint-{step}" if step else "there is no whole checkpoint yet: --resume starts"
    return f"{said}. {remedy}; {again}"


def _remedy(error: BaseException, said: str, recipe: Recipe) -> str | None:
    if isinstance(error, FloatingPointError):
        return "Look at the data, lower train.learning_rate, or allow some such batches: train.skip_bad_batches"
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    if full or any(part in said for part in FULL):
        return "The disk is full: free some space, or keep fewer checkpoints (train.save_total_limit: 1)"
    if isinstance(error, MemoryError) or any(part in said for part in MEMORY):
        return f"Out of memory. {lighter(recipe)}"
    if any(part in said for part in WORKER):
        return "A process that reads data died, mostly for want of memory: fewer train.dataloader_num_workers, or 0"
    if any(part in said for part in OTHER_RANK):
        return "Another rank died, or hung for longer than train.ddp_timeout: see logs/rank-*.log in the run folder"
    return None
