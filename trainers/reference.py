"""The reference: the model that the stage started from, frozen, whatever the stage.

A run that starts from an adapter trains on the merged model (`models.starting_point`), so that "the start" means the
same for a disabled adapter, for a copy loaded again from its folder, and for TRL's own reference.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from data_mix.keys import key_of
from eval_hooks.files import read_json
from eval_hooks.ranks import from_writer, on_writer
from trainers import TrainError
from trainers.arguments import setting
from trainers.cache import cache_dir
from trainers.catalog import METHODS, STAGES
from trainers.models.companions import Start, asked
from trainers.recipe import ModelSection, Recipe

GIB = 2**30


class Reference(AbstractContextManager[Any]):
    """`with reference as model:` gives the start's forward pass, in evaluation mode, without gradients."""

    def __init__(self, model: Callable[[], Any], policy: Any = None) -> None:
        self._model = model
        """Gives what is called: the frozen copy, or the policy as the trainer wraps it."""
        self._policy = policy
        """The peft model whose adapter is switched off meanwhile; None with a copy of its own."""
        self._inside = ExitStack()

    def called(self) -> Any:
        """What is called, whole and placed; for a library that switches gradients off itself."""
        return self._model()

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


def start_of(trainer: Any, copy: Any) -> Reference:
    """The start of a trainer that has its model: the policy without its adapter, else the copy, placed.

    Where the trainer has neither an adapter nor a copy, nothing asks for its start.
    """
    if copy is None:
        return Reference(lambda: trainer.model_wrapped, trainer.model)
    from trainers.logprobs import ready

    ready(copy)
    whole = placed(copy, trainer.accelerator)
    return Reference(lambda: whole)


def cached_logps(trainer: Any, sides: Mapping[str, Sequence[dict[str, Any]]], start: str) -> dict[str, Any]:
    """The rows with `reference`, their labels' log-probabilities under the model as it is now: (T - 1) numbers a row.

    Computed once for a start (`start`: its key), these rows and this arithmetic, kept on the first rank's disk. All
    ranks compute all of them, so that ZeRO-3's shards are gathered by everybody.
    """
    import torch

    file = cache_dir() / "reference" / f"{key_of(start, sides, arithmetic(trainer))}.pt"
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


def arithmetic(trainer: Any) -> list[Any]:
    """What makes a forward pass on the same weights round otherwise: types, attention, device, versions, engine."""
    args, model = trainer.args, trainer.model
    types = sorted({str(parameter.dtype) for parameter in model.parameters()})
    attention = model.config.get_text_config()._attn_implementation
    versions = [version(name) for name in ("torch", "transformers")]
    return [types, args.bf16, args.fp16, attention, args.device.type, trainer.is_deepspeed_enabled, *versions]


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


def compared(recipe: Recipe, pulled: bool = False) -> Mapping[str, Start]:
    """The companions of a run: its method's, and the start where TRL's own KL or a pull towards it needs one.

    Raises TrainError for what the method names and is none.
    """
    found = dict(asked(METHODS[recipe.method.name], recipe.method.config))
    way = STAGES[recipe.stage].anchor
    if pulled or (isinstance(way, str) and setting(recipe, way)):
        found["start"] = Start()
    return found


def reference_copy(recipe: Recipe, tokenizer: Any, model: Any, pulled: bool = False) -> dict[str, Any]:
    """The trainer's argument `reference_model`, where the run needs its start and no adapter gives it by being off.

    `model` is what is trained, before its adapter, or a skeleton of it; `pulled` where a budget's pull towards the
    start acts. A copy is loaded here, before the trainer shards anything. Raises TrainError where it does not fit.
    """
    from trainers.adapters import moves_the_base

    companions = compared(recipe, pulled)
    if not companions:
        return {}
    alone = recipe.adapter.kind != "none" and not moves_the_base(recipe.adapter, model)
    if not recipe.train.get("precompute_ref_log_probs", False):
        return {} if alone else {"reference_model": frozen_copy(recipe, tokenizer)}
    check_cached(recipe)
    of_trl = METHODS[recipe.method.name].step is None  # TRL switches the adapter off for it
    if alone or (not pulled and not (of_trl and recipe.adapter.kind != "none")):
        return {"model_hash": hash_of_start(recipe)}
    return {"reference_model": frozen_copy(recipe, tokenizer)}


def hash_of_start(recipe: Recipe) -> str:
    """The key of what the start would say: its weights, type and new tokens, and how its adapter begins."""
    from trainers.models import start_key

    section = recipe.model
    seed = setting(recipe, "seed") if section.add_tokens else None  # rows of new tokens are drawn
    begun = recipe.adapter.options.get("init_lora_weights", True)
    return start_key(section, section.dtype, section.add_tokens, seed, recipe.adapter.kind, begun)


def check_cached(recipe: Recipe) -> None:
    """Raise TrainError where log-probabilities that are kept cannot be all that the method compares with."""
    method, key = METHODS[recipe.method.name], "train.precompute_ref_log_probs"
    companions = asked(method, recipe.method.config)
    if any(not companion.logps for companion in companions.values()):
        raise TrainError(
            f"{key}: {recipe.method.name} with these settings compares whole distributions or "
            "hidden states with the reference, which log-probabilities of tokens cannot give; leave it out"
        )
    if companions and method.step is not None and not STAGES[recipe.stage].caches:
        raise TrainError(
            f"{key}: stage {recipe.stage} keeps them for TRL's own losses, and {recipe.method.name} is none; leave it "
            "out"
        )


def frozen_copy(recipe: Recipe, tokenizer: Any) -> Any:
    """The start, loaded a second time, in evaluation mode and without gradients.

    Rows of new tokens are drawn as they were for the model that is trained. Raises TrainError with the numbers where
    it does not fit into memory.
    """
    import torch

    from trainers.models import load_model

    check_fits(recipe.model)
    with torch.random.fork_rng():
        torch.manual_seed(setting(recipe, "seed"))
        model = load_model(recipe.model, tokenizer, quantised=recipe.adapter.kind == "qlora").eval()
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
            f"{free / GIB:.1f} GiB are free; use adapter.kind: lora (where nothing of the base is trained, it "
            "is the model without its adapter), train.precompute_ref_log_probs: true, or deepspeed: zero3 on more ranks"
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


def free_bytes() -> int:
    """Free memory of the first GPU, else of the machine."""
    import psutil
    import torch

    return torch.cuda.mem_get_info()[0] if torch.cuda.is_available() else psutil.virtual_memory().available
