"""A model without weights: its parameters counted, its passes counted, from the configuration alone."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from transformers import AutoModelForCausalLM
from transformers.utils import logging as transformers_logging

from trainers.adapters import from_zero, lora_config, moves_the_base
from trainers.memory.live import Peak, head_as_on_gpu, peak_of, peak_without_gradients
from trainers.models import load_config
from trainers.recipe import AdapterSection, ModelSection

NF4_BYTES = (4 + 0.127) / 8
"""A weight of a linear module in qlora: 4 bits, and 0.127 for the scales (Dettmers et al. 2023, arXiv:2305.14314)."""


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Parameters, and what a token's keys and values take."""

    total: int
    """Of the model without its adapter."""
    trained: int
    frozen: int
    """Parameters that get no gradient; with `trained` all there are, the adapter's among them."""
    linear: int
    """Frozen ones in linear modules, which qlora keeps in 4 bits."""
    largest: int
    """Of the largest single module: what ZeRO-3 gathers at a time."""
    layers: int
    hidden: int
    vocab: int
    cached: int
    """Numbers a token leaves in the cache of keys and values."""
    window: int
    """Longest input."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """What a rank runs at once."""

    rows: int
    length: int
    """Tokens of the longest row, to which the others are padded."""
    checkpointing: bool
    """Whether activations are computed anew in the backward pass."""
    autocast: bool
    """Whether bfloat16 copies of the weights are made on the way."""
    on_gpu: bool


class Outline:
    """A recipe's model, to be asked what it takes; nothing is loaded but its configuration."""

    def __init__(self, section: ModelSection, adapter: AdapterSection, tokenizer: Any = None) -> None:
        self.section, self.adapter, self._tokenizer = section, adapter, tokenizer
        self.config = load_config(section)

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights as they are loaded."""
        name = self.section.dtype
        if name != "auto":
            return getattr(torch, name)
        stored = getattr(self.config.get_text_config(), "dtype", None) or getattr(self.config, "dtype", None)
        return (getattr(torch, stored) if isinstance(stored, str) else stored) or torch.float32

    @cached_property
    def counts(self) -> Counts:
        """Parameters by kind."""
        with self.model(self.dtype) as model:
            text = self.config.get_text_config()
            frozen = [(module, p) for module in model.modules() for p in module.parameters(recurse=False)
                      if not p.requires_grad]  # fmt: skip
            head = model.get_output_embeddings()
            linear = {id(p): p.numel() for module, p in frozen
                      if isinstance(module, torch.nn.Linear) and module is not head}  # fmt: skip
            trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
            every = sum(p.numel() for p in model.parameters())
            extra = sum(p.numel() for name, p in model.named_parameters() if "lora_" in name)
            heads = getattr(text, "num_key_value_heads", None) or text.num_attention_heads
            head_dim = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
            return Counts(
                total=every - extra,
                trained=trained,
                frozen=every - trained,
                linear=sum(linear.values()),
                largest=max(sum(p.numel() for p in module.parameters(recurse=False)) for module in model.modules()),
                layers=text.num_hidden_layers,
                hidden=text.hidden_size,
                vocab=text.vocab_size,
                cached=2 * text.num_hidden_layers * heads * head_dim,
                window=getattr(text, "max_position_embeddings", None) or 2048,
            )

    @cached_property
    def moves_the_base(self) -> bool:
        """Whether the model without its adapter is not what training starts from."""
        with self.model(self.dtype) as model:
            return moves_the_base(self.adapter, model) is not None

    def training_peak(self, batch: Batch, dtype: torch.dtype | None = None) -> Peak:
        """Of one micro-batch, forward and backward, with trl's fused head, which every stage has."""
        dtype, factor = self._countable(dtype or self.dtype)
        with self.model(dtype) as model:
            model.train()
            if batch.checkpointing:
                model.activation_checkpointing_enable()
            ids = torch.zeros((batch.rows, batch.length), dtype=torch.long)

            def loss() -> torch.Tensor:
                with torch.autocast("cpu", torch.bfloat16, enabled=batch.autocast):
                    mask = torch.ones_like(ids)
                    return model(input_ids=ids, attention_mask=mask, labels=ids, fused_lm_head=True).loss

            with head_as_on_gpu() if batch.on_gpu else nullcontext():
                found = peak_of(model, loss)
            return Peak(together=factor * found.together, beside=factor * found.beside)

    def scoring_peak(
        self, rows: int, length: int, places: int, dtype: torch.dtype | None = None, masked: bool = True
    ) -> int:
        """Bytes of a forward pass without gradients whose logits are kept at `places`, the cache not among them.

        `masked`: several texts lie in each row.
        """
        dtype, factor = self._countable(dtype or self.dtype)
        with self.model(dtype) as model:
            ids, keep = torch.zeros((rows, length), dtype=torch.long), torch.zeros(places, dtype=torch.long)

            def forward() -> Any:
                mask = torch.zeros((rows, 1, length, length), dtype=model.dtype) if masked else None
                out = model(input_ids=ids, attention_mask=mask, use_cache=False, logits_to_keep=keep)
                return out.logits.float().log_softmax(-1)

            return factor * peak_without_gradients(model, forward)

    def _countable(self, dtype: torch.dtype) -> tuple[torch.dtype, int]:
        """The type to count in, and by what to multiply: torch has no rule for fused experts' products in 32 bits."""
        text = self.config.get_text_config()
        fused = any(getattr(text, name, None) for name in ("num_experts", "num_local_experts", "n_routed_experts"))
        return (torch.bfloat16, 2) if fused and dtype == torch.float32 else (dtype, 1)

    @contextmanager
    def model(self, dtype: torch.dtype) -> Iterator[Any]:
        """The model with its adapter and trl's fused head, under FakeTensorMode."""
        from trl.trainer.utils import add_fused_lm_head

        config = copy.deepcopy(self.config)
        settings = {"attn_implementation": self.section.attn_implementation} if self.section.attn_implementation else {}
        verbosity = transformers_logging.get_verbosity()
        transformers_logging.set_verbosity_error()
        try:
            with torch.device("meta"):
                model = AutoModelForCausalLM.from_config(
                    config, dtype=dtype, trust_remote_code=self.section.trust_remote_code, **settings
                )
                if self._tokenizer is not None and len(self._tokenizer) > model.get_input_embeddings().num_embeddings:
                    model.resize_token_embeddings(len(self._tokenizer), mean_resizing=False)
                add_fused_lm_head(model, outputs=("log_probs", "entropy", "is_top1"))
                if self.adapter.kind != "none":
                    from peft import get_peft_model

                    section = replace(self.section, add_tokens=())
                    adapter = from_zero(self.adapter)
                    model = get_peft_model(model, lora_config(adapter, self._tokenizer, section, model))
            with FakeTensorMode():
                _as_if_on_cpu(model)
                yield model
        finally:
            transformers_logging.set_verbosity(verbosity)


def _as_if_on_cpu(model: torch.nn.Module) -> None:
    """Put fake tensors in place of meta ones, since operations choose their kernels by the device; ties stay ties."""
    made: dict[int, torch.Tensor] = {}
    for module in model.modules():
        for kind in (module._parameters, module._buffers):
            for name, tensor in kind.items():
                if tensor is None:
                    continue
                if id(tensor) not in made:
                    fake = torch.empty(tensor.shape, dtype=tensor.dtype)
                    made[id(tensor)] = (
                        torch.nn.Parameter(fake, requires_grad=tensor.requires_grad)
                        if isinstance(tensor, torch.nn.Parameter)
                        else fake
                    )
                kind[name] = made[id(tensor)]
