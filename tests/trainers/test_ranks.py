"""Two gloo ranks under ZeRO-2 and ZeRO-3 equal one process at the same global batch, for every stage but sft (own file)."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.trainers.conftest import weights
from tests.trainers.test_dpo import write_pairs
from tests.trainers.test_pipeline import write_pipeline
from tests.trainers.test_sft import logged

ROOT = Path(__file__).parents[2]
SGD = ["eval.retain=[]", "train.optim=sgd", "train.learning_rate=0.1", "train.max_steps=2", "train.max_grad_norm=1e9"]
FIXED = '''
"""Answers that depend on the prompt and the place in its group alone."""
from trl import GRPOTrainer

from trainers.rlvr.verdict import Verifier, right


def fixed(self, prompt_ids, images, multimodal_fields, num_generations, has_tool_images=False):
    return [[100 + (sum(ids) + 31 * (i % num_generations)) % 900 + k for k in range(3)]
            for i, ids in enumerate(prompt_ids)], None


GRPOTrainer._generate_single_turn = fixed
VERIFIERS = {"any": Verifier(verify=lambda row, text: right(), about="a plugin has to add something")}
'''
LETTERS = '''
"""A reward that a random model gets; a file of its own, since a worker that runs it need not import trl."""
from trainers.rlvr.verdict import Verdict, Verifier


def letters(row, completion):
    found = [c for c in completion.lower() if c.isalpha()]
    share = sum(c <= "m" for c in found) / len(found) if found else 0.0
    return Verdict(reward=share, ok=share > 0.5)


VERIFIERS = {"letters": Verifier(verify=letters, about="a test")}
'''
CPT = ["stage=cpt", "method.name=causal_lm", "data.train=[{source: jsonl, path: docs.jsonl}]", "train.packing=true",
       "train.max_length=64", "train.global_batch_size=4"]  # fmt: skip
DPO = ["stage=dpo", "data.train=[{source: jsonl, path: pairs.jsonl}]", "train.global_batch_size=4",
       "data.validation=[{name: held, source: jsonl, path: pairs.jsonl}]"]  # fmt: skip
UNLEARN = ["stage=unlearn", "data.train=[{source: facts, people: 2, facts: 2}]", "train.global_batch_size=4",
           "eval.target=[{task: memorisation, goal: down, sides: [forget], people: 2, facts: 2, max_new_tokens: 3}]"]  # fmt: skip
RLVR = ["plugins=[./fixed.py, ./letters.py]", "stage=rlvr", "method.name=grpo", "train.global_batch_size=8",
        "train.num_generations=4", "train.max_completion_length=4", "data.train=[{source: jsonl, path: easy.jsonl}]"]  # fmt: skip
LORA = ["adapter.kind=lora", "adapter.r=2"]
CASES = {
    "cpt": CPT,
    "dpo": [*DPO, "method.name=sigmoid"],
    "dpo zero2": [*DPO, "method.name=sigmoid"],
    "dpo cached": [*DPO, "method.name=sigmoid", "train.precompute_ref_log_probs=true"],
    "dpo lora": [*DPO, "method.name=sigmoid", *LORA],
    "unlearn": [*UNLEARN, "method={name: npo, retain: kl}"],
    "cpt lora": [*CPT, *LORA],
    "unlearn lora": [*UNLEARN, "method={name: npo, retain: kl}", *LORA],
    "unlearn cached": [*UNLEARN, "method={name: npo}", "train.precompute_ref_log_probs=true"],
    "rlvr": [*RLVR, "train.per_device_train_batch_size=4"],
}
SOAK = (
    "dpo", "dpo zero2", "dpo cached", "rlvr", "cpt", "cpt lora", "dpo lora", "unlearn", "unlearn lora", "unlearn cached",
)  # fmt: skip
KEYS = {"dpo": "train/rewards/margins", "unlearn": "train/loss_forget", "rlvr": "train/reward"}


def run(recipe_file: Path, name: str, words: list[str], ranks: int) -> Path:
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "DS_ACCELERATOR": "cpu"}
    start = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(ranks)] if ranks > 1 else []
    command = [sys.executable, *start, "-m", "launch", "train", str(recipe_file), *words, "--run-dir", name]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=400)
    assert done.returncode == 0, done.stdout + done.stderr
    return Path(name)


@pytest.mark.parametrize("case", [pytest.param(c, marks=pytest.mark.soak if c in SOAK else ()) for c in CASES])
def test_two_ranks_equal_one(recipe_file: Path, case: str) -> None:
    folder = recipe_file.parent
    write_pairs(folder / "pairs.jsonl")
    (folder / "fixed.py").write_text(FIXED)
    (folder / "letters.py").write_text(LETTERS)
    docs = [{"text": f"Document {i}. " + "It says so. " * (i % 4 + 1)} for i in range(48)]
    easy = [{"prompt": f"Say {i}", "verifier": "letters", "answer": "x"} for i in range(8)]
    for file, rows in (("docs.jsonl", docs), ("easy.jsonl", easy)):
        (folder / file).write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = [*CASES[case], *SGD]
    one = run(recipe_file, "one", words, 1)
    shutil.rmtree(folder / "cache", ignore_errors=True)  # what one rank has cached, two make themselves
    two = run(recipe_file, "two", [*words, f"deepspeed={'zero2' if 'zero2' in case else 'zero3'}"], 2)
    for key in ("train/loss", KEYS.get(case.partition(" ")[0], "train/loss")):
        assert logged(two, key) == pytest.approx(logged(one, key), rel=1e-3, abs=1e-6), key
    a, b = (weights(folder / "checkpoints" / "checkpoint-2") for folder in (one, two))
    b.pop("lm_head.weight", None)  # DeepSpeed writes the tied head out a second time
    assert a.keys() == b.keys()
    for key in a:
        torch.testing.assert_close(a[key], b[key], rtol=1e-3, atol=2e-5)
    ends = [json.loads((folder / "evals/step-2/summary.json").read_text()) for folder in (one, two)]
    for part in ("tasks", "validation"):
        assert ends[0][part].keys() == ends[1][part].keys()
    for name, entry in ends[0]["validation"].items():
        assert entry["margin"]["value"] == pytest.approx(ends[1]["validation"][name]["margin"]["value"], abs=1e-3)


@pytest.mark.soak
def test_a_pipeline_on_two_ranks_is_that_of_one(recipe_file: Path) -> None:
    """Learn with a LoRA under ZeRO-2, unlearn in full under ZeRO-3: losses of both runs, and the seam's measurements."""
    file = write_pipeline(recipe_file.parent)
    words = [f"pipeline.{i}.set.train.{word}" for i in (0, 1) for word in ("optim=sgd", "max_grad_norm=1e9")]
    one = run(file, "one", words, 1)
    two = run(file, "two", [*words, "pipeline.0.set.deepspeed=zero2", "pipeline.1.set.deepspeed=zero3"], 2)
    assert logged(two, "train/loss") == pytest.approx(logged(one, "train/loss"), rel=1e-3)
    for step in (0, 3, 5):
        ends = [json.loads((root / f"evals/step-{step}/summary.json").read_text())["tasks"] for root in (one, two)]
        assert ends[0].keys() == ends[1].keys() and "pocket" in ends[0]
        for name, task in ends[0].items():
            assert task["accuracy"]["value"] == pytest.approx(ends[1][name]["accuracy"]["value"], abs=0.1)
