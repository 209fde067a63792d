"""What a training process takes before it has a model: interpreter, libraries and, where it is loaded, tokenizer."""

import os
from importlib import import_module

import psutil
import torch

from trainers.catalog import METHODS, STAGES
from trainers.recipe import Recipe

LATE = ("trainers.run", "eval_hooks.evaluate", "eval_hooks.report", "deepspeed", "peft", "relplot", "matplotlib.pyplot",
        "scipy.stats", "sklearn.linear_model")  # fmt: skip
"""What is imported somewhere on the way; DeepSpeed by accelerate, whether or not it is asked for."""


def import_stack(recipe: Recipe) -> None:
    """Import what a run of the recipe imports."""
    if not torch.cuda.is_available():
        os.environ.setdefault("DS_ACCELERATOR", "cpu")  # else DeepSpeed says on standard output that it chose it
    for name in LATE:
        import_module(name)
    (METHODS[recipe.method.name].trainer or STAGES[recipe.stage].trainer)()


def baseline(recipe: Recipe) -> int:
    """Resident bytes of this process once it has imported what a run imports."""
    import_stack(recipe)
    return psutil.Process().memory_info().rss
