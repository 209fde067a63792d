"""What tests share: the embedded model's tokenizer, tiny random models, the shared data where it is."""

import gc
import json
import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # no test reaches for a network; read when huggingface_hub is imported

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

import eval_hooks.calibration.numbers
from eval_hooks.calibration.smooth import smooth_ece, smooth_eces
from eval_hooks.estimate import Estimate
from eval_hooks.intervals import bootstrap
from trainers.fetch import fetch

# Two test workers with two spinning threads each would slow each other several times over.
torch.set_num_threads(1)


SMALL_VOCABULARY = 4096
"""Tokens of the small tokenizer: a step of a tiny model is nearly all output layer, so it takes a tenth of the time."""


def pytest_collection_finish() -> None:
    """What is imported stays: trainers collect garbage by hand, and would look through a million such objects each time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _own_wandb() -> Iterator[None]:
    """A W&B process started by a test is not that of the processes a later test starts: it would hold their last lines."""
    yield
    os.environ.pop("WANDB_SERVICE", None)


@pytest.fixture(scope="session")
def smollm2() -> Path:
    """Folder of the embedded model, fetched once."""
    return fetch("smollm2-135m-instruct")


@pytest.fixture(scope="session")
def small_vocabulary(smollm2: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SmolLM2's tokenizer with its first merges alone, as a folder: the same template, special tokens and first ids."""
    folder = tmp_path_factory.mktemp("small_vocabulary")
    for name in ("tokenizer_config.json", "chat_template.jinja"):
        (folder / name).write_text((smollm2 / name).read_text("utf-8"), "utf-8")
    whole = json.loads((smollm2 / "tokenizer.json").read_text("utf-8"))
    model = whole["model"]
    model["vocab"] = {token: i for token, i in model["vocab"].items() if i < SMALL_VOCABULARY}
    model["merges"] = [pair for pair in model["merges"] if "".join(pair) in model["vocab"]]
    (folder / "tokenizer.json").write_text(json.dumps(whole), "utf-8")
    return folder


@pytest.fixture
def tokenizer(smollm2: Path) -> Any:
    """SmolLM2's tokenizer, a fresh one, so that a test may change its template."""
    return AutoTokenizer.from_pretrained(smollm2)


@pytest.fixture
def small_tokenizer(small_vocabulary: Path) -> Any:
    """The tokenizer of the small vocabulary, a fresh one."""
    return AutoTokenizer.from_pretrained(small_vocabulary)


@pytest.fixture
def few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three resamples of the smooth ECE, not a hundred, which take a quarter of a tiny run: for tests of something else."""

    def smooth(conf: np.ndarray, correct: np.ndarray, clusters: np.ndarray | None) -> dict[str, Estimate]:
        def drawn(counts: np.ndarray) -> dict[str, np.ndarray]:
            return {"smooth_ece": smooth_eces(conf, correct, counts)}

        return bootstrap({"smooth_ece": smooth_ece(conf, correct)}, drawn, len(conf), 3, clusters=clusters)

    monkeypatch.setattr(eval_hooks.calibration.numbers, "_smooth", smooth)


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
