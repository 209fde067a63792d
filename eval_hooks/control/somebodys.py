"""What somebody else's trainer does: shards its model, ends with other weights, starts anew in the same folder."""

import shutil
import warnings
from pathlib import Path
from typing import Any

from transformers import TrainerState, TrainingArguments

from eval_hooks.control.ledger import FILE as SPENDING
from eval_hooks.errors import EvalError
from eval_hooks.files import evaluations
from eval_hooks.storage.aside import set_aside


def check_sharding(args: TrainingArguments, model: Any) -> None:
    """Raise EvalError where a rank holds a part of the model in a way that is untested, whoever switched that on."""
    from accelerate.state import PartialState
    from accelerate.utils import DistributedType
    from torch.distributed.tensor import DTensor

    kind = PartialState._shared_state.get("distributed_type")  # asking by the class would begin a process group
    untested = {DistributedType.FSDP: "FSDP", DistributedType.MEGATRON_LM: "Megatron-LM", DistributedType.XLA: "XLA"}
    found = "FSDP" if getattr(args, "fsdp", None) else untested.get(kind or DistributedType.NO)
    if not found and any(isinstance(weight, DTensor) for weight in model.parameters()):
        found = "weights as DTensor (FSDP2, tensor parallelism)"
    if found:
        raise EvalError(f"{found}: measuring under it is untested; use DeepSpeed ZeRO-3, or plain data parallelism")


def loaded_step(args: TrainingArguments, state: TrainerState) -> int | None:
    """The step whose weights `load_best_model_at_end` has put in, at the end of training; None: the last step's."""
    if not (args.load_best_model_at_end and state.best_model_checkpoint):
        return None
    number = Path(state.best_model_checkpoint).name.rpartition("-")[2]
    return int(number) if number.isdecimal() and int(number) != state.global_step else None


def set_aside_earlier(root: Path, begin: int) -> None:
    """Before a run in a folder that nobody looks after: what lies after the step it begins at is another run's.

    One that begins at 0 takes nothing over; one that is resumed keeps what its chance of a wrong word was spent on.
    """
    upto = begin or -1
    if not any(step > upto for step in evaluations(root)):
        return
    aside = set_aside(root, "earlier-run", upto)
    if not begin and (root / SPENDING).is_file():
        shutil.move(root / SPENDING, aside / SPENDING)
    warnings.warn(f"{root} held an earlier run's evaluations; they are now in {aside}", stacklevel=2)
