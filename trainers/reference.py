"""The reference: the model that the stage started from, frozen, whatever the stage.

A run that starts from an adapter trains on the merged model (`models.starting_point`), so that "the start" means the
same for a disabled adapter, for a copy loaded again from its folder, and for TRL's own reference.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eval_hooks.files import read_json
from eval_hooks.json_text import json_text
from eval_hooks.ranks import from_writer, on_writer
from trainers import TrainError
from trainers.cache import cache_dir
from trainers.catalog import METHODS
from trainers.recipe import ModelSection, Recipe

if TYPE_CHECKING:
    from trainers.moments import Bound

GIB = 2**30


class Reference(AbstractContextManager[Any]):
    """`with reference as model:` gives the start's forward pass, in evaluation mode, without gradients."""

    def __init__(self, model: Callable[[], Any], policy: Any = None) -> None:
        self._model = model
        """Gives what is called: the frozen copy, or the policy as the trainer wraps it."""
        self._policy = policy
        """The peft model whose adapter is switched off meanwhile; None with a copy of its own."""
        self._inside = ExitStack()

    def __enter__(self) -> Any:
        """Switch adapter, dropout and gradients off."""
        import torch

        self._inside.enter_context(torch.no_grad())
        if self._policy is not None:
            self._inside.enter_context(self._policy.disable_adapter())
            training = [module for module in self._policy.modules() if module.training]
            self._policy.eval()
            self._inside.callback(_train, training)
        return self._model()

    def __exit__(self, *error: object) -> None:
        """And on again."""
        self._inside.close()


def _train(modules: Sequence[Any]) -> None:
    for module in modules:
        module.training = True


def reference_for(bound: "Bound", trainer: Any, copy: Any) -> Reference | None:
    """The reference that a trainer's method asks for, once the trainer has its model."""
    kind = bound.method.reference(bound.config) if bound.method.reference else "none"
    return None if kind == "none" else start_of(trainer, copy)


def start_of(trainer: Any, copy: Any) -> Reference:
    """The start of a trainer that has its model: the policy without its adapter, else the copy, placed."""
    if copy is None:
        return Reference(lambda: trainer.model_wrapped, trainer.model)
    from trainers.logprobs import ready

    ready(copy)
    whole = placed(copy, trainer.accelerator)
    return Reference(lambda: whole)


def cached_logps(trainer: Any, sides: Mapping[str, Sequence[dict[str, Any]]], start: str) -> dict[str, Any]:
    """The rows with `reference`, their labels' log-probabilities under the model as it is now: (T - 1) numbers a row.

    Computed once for a start (`start`: its hash) and these rows, kept on the first rank's disk. All ranks compute all
    of them, so that ZeRO-3's shards are gathered by everybody.
    """
    import torch

    digest = hashlib.sha256(json_text([start, sides], sort_keys=True).encode()).hexdigest()[:16]
    file = cache_dir() / "reference" / f"{digest}.pt"
    known = from_writer(on_writer(lambda: torch.load(file, weights_only=True) if file.is_file() else None))
    if known is None:
        with _untrained(trainer) as model:
            known = {side: _logps(trainer, model, rows) for side, rows in sides.items()}
        if trainer.is_world_process_zero():
            file.parent.mkdir(parents=True, exist_ok=True)
            torch.save(known, file.with_suffix(".part"))
            file.with_suffix(".part").rename(file)
    return {
        side: [{**row, "reference": logps} for row, logps in zip(rows, known[side], strict=True)]
        for side, rows in sides.items()
    }


@contextmanager
def _untrained(trainer: Any) -> Iterator[Any]:
    """The trainer's model before training, to be called; ZeRO-3's hooks go afterwards, training hangs up its own."""
    from trl.models.utils import remove_hooks

    model = placed(trainer.model, trainer.accelerator) if trainer.is_deepspeed_enabled else trainer.model
    model.eval()
    yield model
    if getattr(model, "optimizer", None) is not None:
        remove_hooks(model)


def _logps(trainer: Any, model: Any, rows: Sequence[dict[str, Any]]) -> list[list[float]]:
    import torch
    from tqdm.auto import tqdm

    from trainers.logprobs import Tokens, token_logps

    out: list[list[float]] = []
    with torch.no_grad(), trainer.accelerator.autocast():
        silent = not trainer.is_world_process_zero()
        for begin in tqdm(range(0, len(rows), 8), "reference", leave=False, disable=silent):
            batch = rows[begin : begin + 8]
            columns = trainer.data_collator([{"forget": row} for row in batch])
            tokens = Tokens(**{key.removeprefix("forget_"): value.to(trainer.args.device)
                               for key, value in columns.items()})  # fmt: skip
            logps = token_logps(model, tokens)
            out += [row[: len(one["labels"]) - 1].tolist() for row, one in zip(logps, batch, strict=True)]
    return out


def reference_copy(recipe: Recipe, tokenizer: Any) -> dict[str, Any]:
    """The trainer's argument `reference_model` where the method needs one and no adapter can be switched off instead.

    A copy is loaded here, before the trainer shards anything. Raises TrainError where it does not fit.
    """
    method = METHODS[recipe.method.name]
    kind = method.reference(recipe.method.config) if method.reference else "none"
    cached = recipe.train.get("precompute_ref_log_probs", False)
    if cached and kind == "model":
        raise TrainError(
            f"train.precompute_ref_log_probs: {recipe.method.name} with these settings compares whole distributions or "
            "hidden states with the reference, which log-probabilities of tokens cannot give; leave it out"
        )
    if cached and kind == "logps":
        return {"model_hash": model_hash(recipe.model)}
    if kind == "none" or recipe.adapter.kind != "none":
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
    config = read_json(folder / "config.json")
    return str(config.get("dtype") or config.get("torch_dtype") or "float32") in ("bfloat16", "float16")


def model_hash(section: ModelSection) -> str:
    """Of the weights' bytes in a folder; of name and revision for a hub id."""
    from trainers.models import locate

    folder = Path(locate(section.path).base)
    digest = hashlib.sha256(f"{section.path}@{section.revision}".encode())
    for file in sorted(folder.glob("*.safetensors")) if folder.is_dir() else []:
        with file.open("rb") as handle:
            digest.update(hashlib.file_digest(handle, "sha256").digest())
    return digest.hexdigest()


def free_bytes() -> int:
    """Free memory of the first GPU, else of the machine."""
    import psutil
    import torch

    return torch.cuda.mem_get_info()[0] if torch.cuda.is_available() else psutil.virtual_memory().available
