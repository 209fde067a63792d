"""What to change in a recipe that ran out of memory: `temper plan`'s choice among what takes less than it did."""

import os
from dataclasses import replace

from trainers.machine import own_machine
from trainers.recipe import Recipe
from trainers.world import world_size

PROGRAM = 3 * 2**28
"""Of a process before it has a model (`baseline.baseline`), which can't be measured any more: 0.75 GiB."""
LESS = 0.8
"""Of what the recipe's own set-up is foreseen to take, the most that is worth a try."""
GENERAL = (
    "A smaller train.per_device_train_batch_size (with train.global_batch_size the result stays), "
    "train.activation_checkpointing: true, or deepspeed: zero2, zero3"
)


def lighter(recipe: Recipe) -> str:
    """The cheapest set-up foreseen to take clearly less than the recipe's own, in words; general ones where none is."""
    try:
        found = _foreseen(recipe)
    except Exception as error:  # memory may be short for this, too; the failure that is being told counts more
        found = f"{GENERAL}; nothing nearer could be foreseen ({type(error).__name__})"
    return f"{found}; `temper plan` shows every set-up"


def _foreseen(recipe: Recipe) -> str:
    from trainers.lastfit import forget_the_last_fit
    from trainers.memory.foresee import CUDA, Foresight, advise, settings, setup_of
    from trainers.memory.states import Machines
    from trainers.memory.text import size
    from trainers.models import load_tokenizer

    forget_the_last_fit()  # under ZeRO-3 models are built in parts
    per_node = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    machines = Machines(ranks=world_size(), per_node=per_node)
    on_gpu, room = _memory(per_node)
    spare = CUDA if on_gpu else PROGRAM
    machine = replace(own_machine(use_cpu=not on_gpu), memory=room if on_gpu else 0)
    foresight = Foresight(recipe, machines, load_tokenizer(recipe.model), spare, machine)
    own = foresight.own_row
    said = f"This set-up is foreseen to take {size(own.total)} of {size(room)}"
    less = min(room, LESS * own.total)
    anew = foresight.row(setup_of(recipe), foresight.outline, foresight.batch(checkpointing=True))
    if on_gpu and not own.checkpointing and anew.fits(less):
        return f"{said}; train.activation_checkpointing=true {size(anew.total)}"
    choice = advise(foresight, list(foresight.rows()), less)
    if choice is None:
        return f"{said}, and none takes less that fits: more GPUs, or a smaller train.max_length"
    return f"{said}; {settings(foresight, choice)} {size(choice.row.total)}"


def _memory(per_node: int) -> tuple[bool, int]:
    """(whether it is a GPU's, bytes that a rank may take)."""
    import psutil
    import torch

    if torch.cuda.is_available():
        return True, torch.cuda.mem_get_info()[1]
    return False, psutil.virtual_memory().total // per_node
