"""Optional packages that a recipe asks for, looked for before anything is loaded."""

from importlib.util import find_spec

from eval_hooks.sinks import require_tensorboard
from trainers import TrainError
from trainers.recipe import Recipe


def require_packages(recipe: Recipe) -> None:
    """Raise TrainError or EvalError where one is missing."""
    if recipe.tensorboard:
        require_tensorboard()
    if recipe.train.get("use_vllm") and find_spec("vllm") is None:
        raise TrainError(
            "train.use_vllm: the package vllm is not installed; pip install 'tempering[gpu]', or leave it out: the "
            "model writes its answers itself then, more slowly"
        )
