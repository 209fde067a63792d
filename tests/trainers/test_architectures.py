"""Four current architectures, tiny and random, through a whole run: one step, save, merge, reload, equal log-probs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from transformers import AutoTokenizer

from eval_hooks.config import TaskSpec
from eval_hooks.table import column, read_table
from launch.load import load
from tests.conftest import SMALL_VOCABULARY, tiny_llama
from trainers.adapters import PATTERN, lora_config, missed_experts
from trainers.evaluate import evaluate
from trainers.models import load_model, load_tokenizer
from trainers.recipe import AdapterSection, ModelSection
from trainers.run import train

SMALL = {
    "vocab_size": SMALL_VOCABULARY, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 2048, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2,
}  # fmt: skip
EXPERTS = ["mlp.experts.down_proj", "mlp.experts.gate_up_proj"]


def qwen3() -> Any:
    return transformers.Qwen3ForCausalLM(transformers.Qwen3Config(**SMALL, head_dim=8))  # type: ignore[arg-type]


def qwen3_moe() -> Any:
    config = transformers.Qwen3MoeConfig(
        **SMALL, head_dim=8, moe_intermediate_size=16, num_experts=4, num_experts_per_tok=2  # type: ignore[arg-type]
    )  # fmt: skip
    return transformers.Qwen3MoeForCausalLM(config)


def gemma2() -> Any:
    """Tied head, soft-capped logits and attention, every other layer through a window."""
    config = transformers.Gemma2Config(
        **SMALL, head_dim=8, sliding_window=64, final_logit_softcapping=30.0, attn_logit_softcapping=50.0  # type: ignore[arg-type]
    )  # fmt: skip
    return transformers.Gemma2ForCausalLM(config)


ARCHITECTURES: dict[str, tuple[Callable[[], Any], tuple[str, ...]]] = {
    "llama": (lambda: tiny_llama(SMALL_VOCABULARY), ()),
    "qwen3": (qwen3, ()),
    "qwen3_moe": (qwen3_moe, (f"adapter.target_parameters=[{', '.join(EXPERTS)}]",)),
    "gemma2": (gemma2, ("model.attn_implementation=eager",)),
}


def made(name: str, folder: Path, small_vocabulary: Path) -> Path:
    """The architecture's model folder, with its tokenizer."""
    torch.manual_seed(0)
    ARCHITECTURES[name][0]().save_pretrained(folder)
    AutoTokenizer.from_pretrained(small_vocabulary).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_trained_model_says_the_same_after_saving_merging_and_reloading(
    name: str, recipe_file: Path, small_vocabulary: Path, tmp_path: Path
) -> None:
    folder = made(name, tmp_path / name, small_vocabulary)
    words = (
        f"model.path={folder}",
        "train.max_steps=1",
        "adapter.kind=lora",
        "adapter.r=4",
        "adapter.target_modules=all-linear",
    )
    run = tmp_path / "run"
    assert train(load(str(recipe_file), (*words, *ARCHITECTURES[name][1])), run_dir=run) == 0
    live = [column(read_table(run / "evals" / f"step-{step}" / "pocket.parquet"), "logp") for step in (0, 1)]

    section = ModelSection(path=str(run / "checkpoints" / "checkpoint-1"), dtype="float32")
    tokenizer = load_tokenizer(section)
    load_model(section, tokenizer).save_pretrained(tmp_path / "merged")
    tokenizer.save_pretrained(tmp_path / "merged")
    task = TaskSpec(task="pocket", variant="olmes_cf", shots=0, limit=20)
    merged = ModelSection(path=str(tmp_path / "merged"), dtype="float32")
    evaluate(model=merged, tasks=[task], out=tmp_path / "again")
    again = column(read_table(tmp_path / "again" / "pocket.parquet"), "logp")

    flat = [np.concatenate(list(map(np.asarray, logps))) for logps in (*live, again)]
    assert np.abs(flat[1] - flat[0]).max() > 1e-2  # the step did something
    np.testing.assert_allclose(flat[2], flat[1], atol=1e-4)


def adapted(folder: Path, **options: Any) -> Any:
    from peft import get_peft_model

    section = ModelSection(path=str(folder))
    tokenizer = load_tokenizer(section)
    model = load_model(section, tokenizer)
    adapter = AdapterSection(kind="lora", options={"r": 2, "target_modules": "all-linear", **options})
    return get_peft_model(model, lora_config(adapter, tokenizer, section, model))


def test_experts_that_all_linear_misses_are_found_until_they_are_named(small_vocabulary: Path, tmp_path: Path) -> None:
    """Per layer 4 experts of (2 x 16 x 32 + 32 x 16) = 6,144 weights; the share is of all weights but the LoRA's."""
    folder = made("qwen3_moe", tmp_path / "moe", small_vocabulary)
    missed, share = missed_experts(adapted(folder))
    base = sum(p.numel() for p in qwen3_moe().parameters())
    assert not any("gate." in name for name, p in adapted(folder).named_parameters() if p.requires_grad)  # the router
    assert missed == EXPERTS and share == pytest.approx(2 * 6144 / base)
    assert missed_experts(adapted(folder, target_parameters=EXPERTS[:1]))[0] == EXPERTS[1:]
    assert missed_experts(adapted(folder, target_parameters=EXPERTS)) == ([], 0.0)


def test_routers_and_vision_towers_are_left_alone_unless_the_recipe_says_otherwise(
    smollm2: Path, tmp_path: Path
) -> None:
    """A small Llama with a linear `router` and a `vision_tower` beside it stands for the models that have them."""
    import re

    from peft import get_peft_model
    from peft.tuners.tuners_utils import BaseTunerLayer

    section = ModelSection(path=str(smollm2))
    tokenizer = load_tokenizer(section)

    def reached(**options: Any) -> set[str]:
        model = tiny_llama(num_hidden_layers=1)
        model.model.layers[0].mlp.router = torch.nn.Linear(32, 4)
        model.model.vision_tower = torch.nn.Sequential(torch.nn.Linear(8, 8))
        adapter = AdapterSection(kind="lora", options={"target_modules": "all-linear", **options})
        peft = get_peft_model(model, lora_config(adapter, tokenizer, section, model))
        return {name for name, module in peft.named_modules() if isinstance(module, BaseTunerLayer)}

    assert len(reached()) == 7 and not any(re.search("router|vision", name) for name in reached())
    assert sum("router" in name for name in reached(exclude_modules=["vision_tower"])) == 1
    assert sum("router" in name for name in reached(target_modules=["router"])) == 1
    assert re.fullmatch(PATTERN, "model.layers.3.mlp.gate") and not re.fullmatch(
        PATTERN, "model.layers.3.mlp.gate_proj"
    )
