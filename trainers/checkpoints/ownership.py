"""Whose a checkpoint is: what runs code when it is loaded must be the user's own, or be asked for by --trust.

DeepSpeed's shards are pickles, which DeepSpeed loads with `weights_only=False`; all else that a resumed run reads
(safetensors, optimizer.pt, rng_state.pth, method_state.pt) is loaded so that it can hold nothing but tensors and plain
values. A tokenizer with Python files of its own runs them where `model.trust_remote_code` says so.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from eval_hooks.files import saved_at
from trainers import TrainError
from trainers.eval_tokenizer import FOLDER as EVAL_TOKENIZER
from trainers.recipe import Recipe

LATEST = re.compile(r"global_step\d+(_universal)?")
"""What DeepSpeed's `latest` and `latest_universal` may say: a folder beside them, and no path."""


def check_own(run: Path, step: int, recipe: Recipe, root: Path | None = None) -> None:
    """Raise TrainError where resuming at a step would run code from a file of somebody else's.

    `root` is the pipeline's folder where the run is a part of one.
    """
    found = [file for file in code_of(run, step, recipe, root or run) if file.lstat().st_uid != os.geteuid()]
    if found:
        others = f"; so for {len(found)} files" if len(found) > 1 else ""
        raise TrainError(
            f"--resume: {found[0]} is not your file (user {found[0].lstat().st_uid} has it), and loading it can run "
            f"code{others}; add --trust if you know where it is from, or start from the weights alone: "
            f"model.path={run}:{step}"
        )


def code_of(run: Path, step: int, recipe: Recipe, root: Path) -> Iterator[Path]:
    """Files that can run code when a run is resumed at a step, and the folders they are in.

    Raises TrainError where DeepSpeed would look for them elsewhere.
    """
    checkpoint = saved_at(str(run / "checkpoints"), step)
    if recipe.deepspeed is not None:
        for named in checkpoint.glob("latest*"):
            if not LATEST.fullmatch(said := named.read_text("utf-8", "replace").strip()):
                raise TrainError(f"--resume: {named}: {said[:80]!r} is not a folder beside it, as global_step2 is")
        for folder in checkpoint.glob("global_step*"):
            yield from (folder, *folder.rglob("*"))
    if recipe.model.trust_remote_code:
        for folder in (checkpoint, root / EVAL_TOKENIZER):
            yield from folder.rglob("*.py")
