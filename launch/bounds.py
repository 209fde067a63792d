"""What the numbers and names of a recipe must be, by config class and key."""

from data_mix.config import SourceSpec
from data_mix.names import RULE, is_name
from eval_hooks import bounds
from eval_hooks.bounds import ABOVE_0, COUNT, MARGIN, NOT_NEGATIVE, SHARE, Bound
from trainers.recipe import LaunchSection

NAME = Bound(words=RULE, holds=is_name, of=str)

BOUNDS: dict[type, dict[str, Bound]] = {
    **bounds.BOUNDS,
    SourceSpec: {"name": NAME, "weight": ABOVE_0, "fraction": SHARE},
    LaunchSection: {"nproc": COUNT, "nnodes": COUNT},
}

SEED = Bound(words="a whole number from 0 to 4,294,967,295", holds=lambda value: 0 <= value < 2**32)
RATE = Bound(words="0 or more and finite", holds=lambda value: 0 <= value < float("inf"))
UPTO_1 = Bound(words="above 0 and at most 1", holds=lambda value: 0 < value <= 1)
AT_LEAST_2 = Bound(words="2 or more: a group is compared with itself", holds=lambda value: value >= 2)
SMOOTHING = Bound(words="at least 0 and below 0.5: half of the labels turned say nothing", holds=lambda v: 0 <= v < 0.5)
STEPS = Bound(words="1 or more, or -1 for num_train_epochs", holds=lambda value: value >= 1 or value == -1)
ARGUMENTS: dict[str, dict[str, Bound]] = {
    "TrainingArguments": {
        "learning_rate": RATE,
        **dict.fromkeys(("num_train_epochs", "adam_epsilon", "ddp_timeout"), ABOVE_0),
        **dict.fromkeys(("logging_steps", "save_steps", "neftune_noise_alpha", "torch_empty_cache_steps"), ABOVE_0),
        **dict.fromkeys(("per_device_train_batch_size", "per_device_eval_batch_size"), COUNT),
        **dict.fromkeys(("gradient_accumulation_steps", "save_total_limit", "max_length"), COUNT),
        **dict.fromkeys(("dataloader_prefetch_factor", "dataset_num_proc"), COUNT),
        **dict.fromkeys(("weight_decay", "warmup_steps", "max_grad_norm", "dataloader_num_workers"), NOT_NEGATIVE),
        **dict.fromkeys(("adam_beta1", "adam_beta2", "label_smoothing_factor"), MARGIN),
        "warmup_ratio": MARGIN,
        **dict.fromkeys(("seed", "data_seed"), SEED),
        "max_steps": STEPS,
    },
    "DPOConfig": {"beta": ABOVE_0, "label_smoothing": SMOOTHING, "discopop_tau": ABOVE_0},
    "GRPOConfig": {
        "beta": NOT_NEGATIVE,
        **dict.fromkeys(("temperature", "repetition_penalty", "epsilon", "epsilon_high", "delta"), ABOVE_0),
        **dict.fromkeys(("max_completion_length", "num_iterations", "steps_per_generation"), COUNT),
        "num_generations": AT_LEAST_2,
        **dict.fromkeys(("top_p", "top_entropy_quantile", "vllm_gpu_memory_utilization"), UPTO_1),
        "top_k": NOT_NEGATIVE,
    },
}
"""Of keys under `train:`, by the class that has them; those of a class hold for the ones that are made from it."""


def bounds_of(arguments: type) -> dict[str, Bound]:
    """Of the keys of a stage's config class."""
    found: dict[str, Bound] = {}
    for base in reversed(arguments.__mro__):
        found |= ARGUMENTS.get("GRPOConfig" if base.__name__ == "RLOOConfig" else base.__name__, {})
    return found
