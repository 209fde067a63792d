"""Which weights of a model are trained: the LoRA of the adapter section, what it reaches and what it leaves out."""

import re
from collections import Counter
from dataclasses import replace
from typing import Any

from trainers.recipe import AdapterSection, ModelSection

LEFT_ALONE = (
    "vision_tower", "vision_model", "vision_encoder", "visual", "audio_tower", "audio_encoder", "multi_modal_projector",
    "mm_projector", "embed_vision", "embed_audio", "gate", "router", "shared_expert_gate",
)  # fmt: skip
"""Modules that `all-linear` does not mean: what sees and hears, and what sends tokens to experts."""
PATTERN = rf"(?:.*\.)?(?:{'|'.join(LEFT_ALONE)})(?:\..*)?"


def lora_config(adapter: AdapterSection, tokenizer: Any, model_section: ModelSection, model: Any) -> Any:
    """peft.LoraConfig of the adapter section, or None; rows of new tokens are trained beside the LoRA.

    `all-linear` leaves routers and vision and audio towers alone, unless the section says itself what to exclude, and
    means no fused experts: peft would adapt those of some families, and their routers, and pass over the others.
    """
    if adapter.kind == "none":
        return None
    from peft import LoraConfig

    options = dict(adapter.options)
    if options.get("target_modules") == "all-linear":
        if any(re.fullmatch(PATTERN, name) for name, _ in model.named_modules()):
            options.setdefault("exclude_modules", PATTERN)
        if any(_is_fused(name, parameter) for name, parameter in model.named_parameters()):
            options["target_modules"] = _linear(model)
    if model_section.add_tokens:
        new = tokenizer.convert_tokens_to_ids(list(model_section.add_tokens))
        options.setdefault("trainable_token_indices", new)
    return LoraConfig(task_type="CAUSAL_LM", **options)


FROM_ZERO = (True, False, "gaussian", "eva", "orthogonal", "mica")
"""Values of peft's init_lora_weights that leave the base as it is; all others take something out of it."""


def moves_the_base(adapter: AdapterSection, model: Any) -> str | None:
    """Why the model with its adapter switched off is not what training starts from; None where it is.

    Two things are not switched off with an adapter: biases that are trained where they are, and what was taken out of
    the weights for the adapter to begin with.
    """
    options = adapter.options
    bias, begin = options.get("bias", "none"), options.get("init_lora_weights", True)
    if adapter.kind == "none":
        return None
    if bias != "none" and any(name.rpartition(".")[2] == "bias" for name, _ in model.named_parameters()):
        return f"adapter.bias: {bias} trains the model's own biases"
    if begin not in FROM_ZERO:
        return f"adapter.init_lora_weights: {begin} takes what the adapter begins with out of the weights"
    if options.get("kasa_config") is not None:
        return "adapter.kasa_config takes what is smallest out of the weights"
    return None


def from_zero(adapter: AdapterSection) -> AdapterSection:
    """The adapter with a start that needs no weights: for a model that has none."""
    return replace(adapter, options={**adapter.options, "init_lora_weights": True})


def with_adapter(model: Any, config: Any, args: Any) -> Any:
    """The model with its adapter on; as it is without one.

    Under ZeRO-3 the adapter has the base's type: parameters of two types are gathered into one buffer, and peft's fp32
    is for a base in 4 bits (trl issue 6089).
    """
    if config is None:
        return model
    from peft import get_peft_model

    quantised = getattr(model, "is_loaded_in_4bit", False) or getattr(model, "is_loaded_in_8bit", False)
    more = {"autocast_adapter_dtype": False} if in_zero3(args) and not quantised else {}
    model = get_peft_model(model, config, **more)
    if args.activation_checkpointing:
        model.enable_input_require_grads()  # else the first layer's checkpoint has no input to differentiate by
    return model


def in_zero3(args: Any) -> bool:
    """Whether weights are sharded."""
    return args.deepspeed_plugin is not None and args.deepspeed_plugin.zero_stage == 3


def checkpoint_reentrantly(model: Any, args: Any) -> None:
    """Have an adapter's activations recomputed by torch's reentrant way under ZeRO-3, which needs it (trl issue 2514).

    TRL says so to `gradient_checkpointing_kwargs`, which transformers 5 reads no more once its arguments are made.
    """
    if hasattr(model, "peft_config") and in_zero3(args) and args.activation_checkpointing:
        settings = {**(args.activation_checkpointing_kwargs or {}), "use_reentrant": True}
        args.activation_checkpointing_kwargs = args.gradient_checkpointing_kwargs = settings


def _linear(model: Any) -> list[str]:
    """Names of the linear modules, but for the head and what is left alone."""
    import torch

    head = model.get_output_embeddings()
    return sorted(
        {
            name.rpartition(".")[2]
            for name, module in model.named_modules()
            if isinstance(module, torch.nn.Linear) and module is not head and not re.fullmatch(PATTERN, name)
        }
    )


def _is_fused(name: str, parameter: Any) -> bool:
    """Whether a parameter holds all experts of a layer: three dimensions."""
    return ".experts." in name and len(getattr(parameter, "ds_shape", parameter.shape)) == 3


def numel(parameter: Any) -> int:
    """Of the whole parameter; under ZeRO-3 a rank has a part of it, or nothing."""
    return int(getattr(parameter, "ds_numel", parameter.numel()))


def missed_experts(model: Any) -> tuple[list[str], float]:
    """(fused expert weights that no adapter reaches, as `mlp.experts.down_proj`; their share of the model's weights).

    Mixtures of experts keep all experts of a layer in one parameter of three dimensions, which is no linear module.
    """
    reached = {
        name for config in model.peft_config.values() for name in getattr(config, "target_parameters", None) or ()
    }
    sizes: Counter[str] = Counter()
    total = 0
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            continue
        size = numel(parameter)
        total += size
        plain = name.replace(".base_layer", "")
        if _is_fused(plain, parameter):
            sizes[".".join(plain.split(".")[-3:])] += 0 if plain.endswith(tuple(reached)) else size
    missed = {name: size for name, size in sizes.items() if size}
    return sorted(missed), sum(missed.values()) / max(1, total)


def trainable_share(model: Any) -> tuple[int, int]:
    """(trained parameters, all parameters); under ZeRO-3 the full sizes, not the shards'."""
    sizes = [(parameter.requires_grad, numel(parameter)) for parameter in model.parameters()]
    return sum(n for trained, n in sizes if trained), sum(n for _, n in sizes)


def adapted_modules(model: Any) -> list[str]:
    """Kinds of modules that carry a LoRA, as `q_proj x 30`."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    names = Counter(
        name.rpartition(".")[2] for name, module in model.named_modules() if isinstance(module, BaseTunerLayer)
    )
    return [f"{name} x {n}" for name, n in names.items()]
