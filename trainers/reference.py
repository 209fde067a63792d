"""The reference: the model that the stage started from, frozen, whatever the stage.

A run that starts from an adapter trains on the merged model (`models.starting_point`), so that "the start" means the
same for a disabled adapter, for a copy loaded again from its folder, and for TRL's own reference.
"""

from contextlib import AbstractContextManager, ExitStack, nullcontext
from pathlib import Path
from typing import Any

from trainers import TrainError
from trainers.catalog import METHODS
from trainers.recipe import ModelSection, Recipe

GIB = 2**30


class Reference(AbstractContextManager[Any]):
    """`with reference as model:` gives the start's forward pass, without gradients.

    `model` is the wrapped policy where the start is the policy without its adapter; else the frozen copy.
    """

    def __init__(self, model: Any, policy: Any = None) -> None:
        self.model = model
        """What is called: the frozen copy, or the wrapped policy."""
        self._policy = policy
        """The peft model whose adapter is switched off meanwhile; None with a copy of its own."""
        self._inside = ExitStack()

    def __enter__(self) -> Any:
        """Switch adapter and gradients off."""
        import torch

        self._inside.enter_context(torch.no_grad())
        self._inside.enter_context(self._policy.disable_adapter() if self._policy is not None else nullcontext())
        return self.model

    def __exit__(self, *error: object) -> None:
        """And on again."""
        self._inside.close()


def reference_copy(recipe: Recipe, tokenizer: Any) -> dict[str, Any]:
    """The trainer's argument `reference_model` where the method needs one and no adapter can be switched off instead.

    A copy is loaded here, before the trainer shards anything. Raises TrainError where it does not fit.
    """
    method = METHODS[recipe.method.name]
    kind = method.reference(recipe.method.config) if method.reference else "none"
    cached = recipe.train.get("precompute_ref_log_probs", False)
    if kind == "none" or recipe.adapter.kind != "none" or (kind == "logps" and cached):
        return {}
    return {"reference_model": frozen_copy(recipe.model, tokenizer)}


def frozen_copy(section: ModelSection, tokenizer: Any) -> Any:
    """The start, loaded a second time, in evaluation mode and without gradients.

    Raises TrainError with the numbers where it does not fit into memory.
    """
    from trainers.models import load_model

    check_fits(section)
    model = load_model(section, tokenizer).eval()
    return model.requires_grad_(False)


def placed(copy: Any, accelerator: Any) -> Any:
    """The copy where the policy is: sharded under ZeRO-3, else whole on the rank's device."""
    from trl.models.utils import prepare_deepspeed

    if getattr(accelerator.state, "deepspeed_plugin", None) is not None:
        return prepare_deepspeed(copy, accelerator)
    return accelerator.prepare_model(copy, evaluation_mode=True)


def check_fits(section: ModelSection) -> None:
    """Refuse a copy that memory has no room for; nothing is said of a model that is not on disk."""
    needed, free = weights_bytes(section), free_bytes()
    if needed > free:
        raise TrainError(
            f"reference: a frozen copy of {section.path} takes {needed / GIB:.1f} GiB beside the model, and "
            f"{free / GIB:.1f} GiB are free; use adapter.kind: lora (the start is then the model without its adapter), "
            "train.precompute_ref_log_probs: true, or deepspeed: zero3 on more ranks"
        )


def weights_bytes(section: ModelSection) -> int:
    """Bytes of the weights on disk, scaled to the type they are loaded in; 0 for a hub id."""
    from trainers.models import locate

    folder = Path(locate(section.path).base)
    size = sum(file.stat().st_size for file in folder.glob("*.safetensors")) if folder.is_dir() else 0
    return size * 2 if section.dtype == "float32" and _stored_in_16_bits(folder) else size


def _stored_in_16_bits(folder: Path) -> bool:
    import json

    config = json.loads((folder / "config.json").read_text("utf-8"))
    return str(config.get("dtype") or config.get("torch_dtype") or "float32") in ("bfloat16", "float16")


def free_bytes() -> int:
    """Free memory of the first GPU, else of the machine."""
    import psutil
    import torch

    return torch.cuda.mem_get_info()[0] if torch.cuda.is_available() else psutil.virtual_memory().available
