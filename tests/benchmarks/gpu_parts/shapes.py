"""Models without a hub: Llama 3's shapes with random weights and the embedded tokenizer, and how much of each is run."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from trainers.fetch import fetch

TOKENIZER = "smollm2-135m-instruct"
TOKENIZER_SIZE = 49_152
"""Tokens that texts are made of; a larger vocabulary costs what it costs all the same."""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A model, and the training step it is timed with."""

    name: str
    config: Mapping[str, Any]
    """Of transformers.LlamaConfig."""
    trained: Literal["all", "lora"]
    """`all`: fp32 weights, bf16 arithmetic; `lora`: r = 16 on all linear layers of bf16 weights."""
    length: int = 4096
    """Tokens of a packed row."""
    rows: int = 4
    """Of a micro-batch; a step is one of them."""
    steps: int = 12

    @property
    def said(self) -> str:
        """As `Llama 8B, LoRA r=16`."""
        return f"{self.name}, {'LoRA r=16' if self.trained == 'lora' else 'all weights'}"


LLAMA = {"vocab_size": 128_256, "max_position_embeddings": 131_072, "rms_norm_eps": 1e-5,
         "rope_parameters": {"rope_type": "default", "rope_theta": 500_000.0}}  # fmt: skip
LLAMA_1B = Shape(
    name="Llama 1B",
    config={**LLAMA, "hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16, "num_attention_heads": 32,
            "num_key_value_heads": 8, "head_dim": 64, "tie_word_embeddings": True},
    trained="all",
)  # fmt: skip
"""As Llama 3.2 1B: 1,235,814,400 parameters."""
LLAMA_8B = Shape(
    name="Llama 8B",
    config={**LLAMA, "hidden_size": 4096, "intermediate_size": 14_336, "num_hidden_layers": 32,
            "num_attention_heads": 32, "num_key_value_heads": 8, "tie_word_embeddings": False},
    trained="lora",
    rows=1,
)  # fmt: skip
"""As Llama 3 8B: 8,030,261,248 parameters."""
SMALL = {"vocab_size": TOKENIZER_SIZE, "max_position_embeddings": 4096, "hidden_size": 32, "intermediate_size": 64,
         "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "tie_word_embeddings": True}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How much is measured."""

    shapes: tuple[Shape, ...]
    """The last one is the one that single comparisons are made on."""
    batch_tokens: tuple[int, ...]
    seconds: float
    """For each size of batch; what is left of the items then is extrapolated."""
    items: int | None = None
    """Of each subject, at most."""
    subjects: int | None = None
    prompts: int
    prompt_tokens: int
    new_tokens: int


CARD = Scale(
    shapes=(LLAMA_1B, LLAMA_8B),
    batch_tokens=(512, 1024, 2048, 4096, 8192, 16_384, 32_768, 65_536),
    seconds=20.0,
    prompts=64,
    prompt_tokens=512,
    new_tokens=256,
)
TINY = Scale(
    shapes=(Shape(name="tiny", config=SMALL, trained="all", length=64, rows=2, steps=3),),
    batch_tokens=(512, 1024),
    seconds=5.0,
    items=3,
    subjects=2,
    prompts=2,
    prompt_tokens=8,
    new_tokens=4,
)


@dataclass(kw_only=True)
class Models:
    """Folders of models, each written when it is first asked for."""

    root: Path
    _made: dict[str, Path] = field(default_factory=dict)

    def folder(self, shape: Shape) -> Path:
        """Random bf16 weights (fp32 on a CPU), made where they will run, which takes seconds on a GPU."""
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig

        if shape.name not in self._made:
            folder = self.root / shape.name.replace(" ", "-").lower()
            on_gpu = torch.cuda.is_available()
            torch.manual_seed(0)
            config = LlamaConfig(**shape.config, bos_token_id=1, eos_token_id=2, pad_token_id=2)
            with torch.device("cuda" if on_gpu else "cpu"):
                dtype = torch.bfloat16 if on_gpu else torch.float32
                model = AutoModelForCausalLM.from_config(config, dtype=dtype)
            model.save_pretrained(folder)
            AutoTokenizer.from_pretrained(fetch(TOKENIZER)).save_pretrained(folder)
            self._made[shape.name] = folder
        return self._made[shape.name]


def loaded(folder: Path, attention: str | None = None) -> Any:
    """A model to score or write with, on the GPU if there is one."""
    import torch
    from transformers import AutoModelForCausalLM

    device = "cuda" if torch.cuda.is_available() else "cpu"
    return AutoModelForCausalLM.from_pretrained(folder, dtype="auto", attn_implementation=attention).eval().to(device)
