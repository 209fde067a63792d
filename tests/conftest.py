"""What tests share: the embedded model's tokenizer, tiny random models, the shared data where it is."""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # no test reaches for a network; read when huggingface_hub is imported

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from trainers.fetch import fetch

# Two test workers with two spinning threads each would slow each other several times over.
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def smollm2() -> Path:
    """Folder of the embedded model, fetched once."""
    return fetch("smollm2-135m-instruct")


@pytest.fixture
def tokenizer(smollm2: Path) -> Any:
    """SmolLM2's tokenizer, a fresh one, so that a test may change its template."""
    return AutoTokenizer.from_pretrained(smollm2)


def tiny_llama(vocab_size: int = 49152, seed: int = 0, **config: Any) -> LlamaForCausalLM:
    """A random Llama of 2 layers, width 32; 1.6M parameters with SmolLM2's vocabulary, tied head."""
    torch.manual_seed(seed)
    settings = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 2048,
        "tie_word_embeddings": True,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 2,
    }
    return LlamaForCausalLM(LlamaConfig(vocab_size=vocab_size, **{**settings, **config})).eval()


@pytest.fixture
def tiny() -> LlamaForCausalLM:
    """A tiny random model."""
    return tiny_llama()


@pytest.fixture
def shared_data() -> Path:
    """The folder of real data sets: TEMPER_DATA, else ../shared/data beside the checkout."""
    folder = Path(os.environ.get("TEMPER_DATA") or Path(__file__).parents[2] / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"no shared data at {folder}; set TEMPER_DATA")
    return folder
