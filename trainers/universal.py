"""A DeepSpeed checkpoint on another number of ranks: through its universal form, and what that needs mended.

Measured with deepspeed 0.19. Losses then follow the unbroken run as closely as another number of ranks does (about
2e-6), not bit for bit. Mended after loading under ZeRO-3: one tensor that counts Adam's steps for all groups, which
would advance once a group; and hyperparameters of the first group (weight decay) laid over all others.
"""

import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from eval_hooks import ranks
from eval_hooks.files import completed
from eval_hooks.storage.inside import remove
from trainers import TrainError, announce
from trainers.recipe import Recipe

LATEST = "latest_universal"


def other_ranks(recipe: Recipe, arguments: Any, checkpoint: str | None) -> "Mended | None":
    """Make a checkpoint loadable where it was saved by another number of ranks; what mends it after loading, if needed.

    Raises TrainError where the batch would be another one, or DeepSpeed cannot convert it.
    """
    before = ranks.from_writer(completed(Path(checkpoint)).get("ranks") if checkpoint else None)
    now = ranks.place()[1]
    if checkpoint is None or before in (None, now):
        return None
    if recipe.global_batch_size is None:
        raise TrainError(
            f"--resume on {now} ranks of what {before} saved: rows a step would change with them; set "
            "train.global_batch_size to what the run had"
        )
    announce(f"resume    saved by {before} ranks, now {now}: equal up to rounding, not bit for bit")
    if recipe.deepspeed is None:
        return None
    ranks.on_writer(partial(convert, Path(checkpoint)))
    arguments.hf_deepspeed_config.config["checkpoint"] = {"load_universal": True}
    return Mended(Path(checkpoint), arguments)


def convert(checkpoint: Path) -> Path:
    """Write the universal form beside DeepSpeed's own, and return its folder. Raises TrainError where that fails."""
    own = checkpoint / (checkpoint / "latest").read_text("utf-8").strip()
    to = own.with_name(f"{own.name}_universal")
    forget(checkpoint)
    command = [sys.executable, "-P", "-m", "deepspeed.checkpoint.ds_to_universal", "--input_folder", str(own),
               "--output_folder", str(to), "--num_extract_workers", "1", "--num_merge_workers", "1",
               *([] if any(own.glob("zero_pp_rank_*_model_states.pt")) else ["--inject_missing_state"])]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        forget(checkpoint)
        lines = done.stderr.strip().splitlines() or ["no message"]
        raise TrainError(
            f"{own}: DeepSpeed could not convert it for another number of ranks: {lines[-1]}; resume on as many as "
            "saved it"
        )
    return to


def forget(checkpoint: Path) -> None:
    """Remove the universal form."""
    for folder in checkpoint.glob("global_step*_universal"):
        remove(folder, checkpoint)
    (checkpoint / LATEST).unlink(missing_ok=True)


class Mended(TrainerCallback):
    """Puts right what DeepSpeed's loader leaves wrong, once the checkpoint is loaded; then its universal form goes."""

    def __init__(self, checkpoint: Path, arguments: Any) -> None:
        self.checkpoint, self.arguments = checkpoint, arguments

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """The optimizer is DeepSpeed's around torch's, in accelerate's wrapper."""
        import torch

        inner = kwargs["optimizer"]
        while not isinstance(inner, torch.optim.Optimizer) and hasattr(inner, "optimizer"):
            inner = inner.optimizer
        while isinstance(getattr(inner, "optimizer", None), torch.optim.Optimizer):
            inner = inner.optimizer
        own_steps(inner)
        (folder,) = self.checkpoint.glob("global_step*_universal")
        kept = torch.load(folder / "zero" / "optimizer_state.pt", weights_only=False)
        own_hyperparameters(inner, groups_of(kept))
        self.arguments.hf_deepspeed_config.config.pop("checkpoint", None)
        ranks.from_all({ranks.place()[0]: None})  # everybody has read it
        if state.is_world_process_zero:
            forget(self.checkpoint)


def own_steps(optimizer: Any) -> None:
    """Give every parameter its own count of Adam's steps."""
    import torch

    for entry in optimizer.state.values():
        if torch.is_tensor(entry.get("step")):
            entry["step"] = entry["step"].clone()


def groups_of(kept: Any) -> list[dict[str, Any]]:
    """The saved hyperparameters, a dict a group; nested one deeper under ZeRO-3."""
    return list((kept.get("optimizer_state_dict") or kept)["param_groups"])


def own_hyperparameters(optimizer: Any, groups: list[dict[str, Any]]) -> None:
    """Give every group its own saved hyperparameters."""
    for group, saved in zip(optimizer.param_groups, groups, strict=True):
        group.update({key: value for key, value in saved.items() if key != "params"})
