"""Sequence parallelism: ranks share the tokens of a row, for rows too long for one (DeepSpeed's Ulysses).

Jacobs et al. 2023, arXiv:2309.14509; in transformers through `train.parallelism_config: {sp_size: N}`. Three things
are ours: what would be wrong in silence is refused, gradients get their true size, and measuring keeps the model's own
attention. DeepSpeed's stand-in for it drops attention masks even while a model is evaluated, and then items that lie in
one row would see each other.
"""

import math
from dataclasses import replace
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from trainers import TrainError
from trainers.catalog import METHODS, STAGES
from trainers.recipe import Recipe

OTHERS = ("dp_replicate_size", "dp_shard_size", "tp_size", "cp_size")
"""Sizes of accelerate's ParallelismConfig that a recipe cannot set."""
DEFAULT = "sdpa"


def ranks_of_a_row(recipe: Recipe) -> int:
    """How many ranks share a row; 1 without sequence parallelism."""
    return getattr(recipe.train.get("parallelism_config"), "sp_size", 1)


def groups(recipe: Recipe, ranks: int) -> int:
    """Ranks that take rows of their own, those that share theirs counted once: what a global batch is divided by."""
    return max(1, ranks // ranks_of_a_row(recipe))


def check_shared(recipe: Recipe, world_size: int, longest: int | None, on_gpu: bool) -> None:
    """Raise TrainError with all that does not go together on so many ranks; `longest` is train.max_length."""
    config = recipe.train.get("parallelism_config")
    if config is None:
        return
    problems = _problems(recipe, config, world_size)
    if config.sp_size > 1 and not on_gpu and longest is None:
        problems.append(f"sp_size {config.sp_size}: without GPUs rows are padded to one length; write train.max_length")
    if problems:
        raise TrainError("\n".join(f"train.parallelism_config: {problem}" for problem in problems))


def filled(recipe: Recipe, world_size: int, longest: int | None, on_gpu: bool) -> dict[str, Any]:
    """Arguments that follow from it: ranks left for data, the kind of attention, rows padded to whole shares.

    Without GPUs all rows are padded to `longest`, train.max_length: gloo gathers batches of one length only (measured:
    `invalid tensor size`), NCCL of any. Raises TrainError with all that does not go together.
    """
    check_shared(recipe, world_size, longest, on_gpu)
    config = recipe.train.get("parallelism_config")
    if config is None or config.sp_size == 1:
        return {}
    from accelerate.utils import DeepSpeedSequenceParallelConfig

    attention = DeepSpeedSequenceParallelConfig(sp_attn_implementation=recipe.model.attn_implementation or DEFAULT)
    full = replace(config, dp_replicate_size=groups(recipe, world_size), sp_handler=attention)
    share = 1 if on_gpu or longest is None else -(-longest // config.sp_size)
    asked = recipe.train.get("pad_to_multiple_of") or 1
    return {"parallelism_config": full, "pad_to_multiple_of": math.lcm(share * config.sp_size, asked)}


def _problems(recipe: Recipe, config: Any, world_size: int) -> list[str]:
    found = [f"{name} {getattr(config, name)}: untested here; sp_size is what can be set"
             for name in OTHERS if getattr(config, name) != 1]  # fmt: skip
    n = config.sp_size
    if n == 1:
        return found
    stages = [name for name, stage in STAGES.items() if stage.splits_rows]
    if not STAGES[recipe.stage].splits_rows:
        found.append(f"sp_size {n}: stage {recipe.stage} cannot share a row out; {' and '.join(stages)} can")
    elif METHODS[recipe.method.name].step is not None:
        found.append(f"sp_size {n}: method {recipe.method.name} needs whole rows; use one that is TRL's own")
    if recipe.deepspeed is None:
        found.append(f"sp_size {n}: done by DeepSpeed; add deepspeed: zero2")
    if world_size % n:
        found.append(f"sp_size {n}: does not divide {world_size} ranks; start a multiple of {n}")
    if recipe.train.get("packing"):
        found.append(f"sp_size {n}: packed documents would see each other, masks being dropped; train.packing: false")
    return found


def with_true_gradient(loss: Any, n: int) -> Any:
    """The same loss with a gradient n times smaller.

    transformers sums the ranks' losses with a gradient for each of them, and DeepSpeed adds the gradients of the ranks
    that share a row up: together n times too much (measured: norms 4.8113 on two ranks, 2.4056 on one; DeepSpeed issue
    5248). Adam hides it, clipping and SGD do not.
    """
    return loss if n == 1 else loss / n + (loss - loss / n).detach()


class OwnAttention(TrainerCallback):
    """Attention over all ranks while a module trains, the model's own while it is measured; afterwards as before."""

    def __init__(self, name: str | None) -> None:
        from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

        self._name, self._table = name or DEFAULT, ALL_ATTENTION_FUNCTIONS
        self._own = ALL_ATTENTION_FUNCTIONS[self._name]

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """DeepSpeed has put its own function in place by now."""
        shared, own = self._table[self._name], self._own

        def by_mode(module: Any, *rest: Any, **more: Any) -> Any:
            return (shared if module.training else own)(module, *rest, **more)

        self._table[self._name] = by_mode

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """The model may be used for something else now."""
        self._table[self._name] = self._own
