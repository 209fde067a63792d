"""Resumed equals unbroken, bit for bit: every stage, on one rank and on two, under DDP and ZeRO."""

import json
import shutil
from pathlib import Path

import pytest

from tests.trainers.test_dpo import write_pairs
from tests.trainers.test_ranks import CPT, DPO, LORA, UNLEARN, run
from tests.trainers.test_resume import curve, same_weights
from trainers.rundir import read_status

STAGES = {
    "sft": [],
    "sft lora": LORA,
    "sft packing": ["train.packing=true", "train.max_length=64"],
    "cpt": CPT,
    "cpt streaming": [*CPT, "data.until_tokens=1280", "train.max_steps=null"],
    "dpo": [*DPO, "method.name=sigmoid"],
    "dpo lora": [*DPO, "method.name=sigmoid", *LORA],
    "unlearn": [*UNLEARN, "method={name: npo, retain: kl}"],
    "unlearn cached": [*UNLEARN, "method={name: npo}", "train.precompute_ref_log_probs=true"],
}
ENGINES = {"single": (1, []), "ddp": (2, []), "zero2": (2, ["deepspeed=zero2"]), "zero3": (2, ["deepspeed=zero3"])}
NORMAL = {("sft lora", "zero3")}
"""The others are for `make soak`; those of one rank are in each stage's own test."""


@pytest.mark.parametrize(
    ("stage", "engine"),
    [
        pytest.param(stage, engine, marks=() if (stage, engine) in NORMAL else pytest.mark.soak)
        for stage in STAGES
        for engine in ENGINES
    ],
)
def test_resumed_is_unbroken(recipe_file: Path, stage: str, engine: str) -> None:
    """4 steps with a checkpoint and an evaluation after each; then cut to 2 and resumed: losses, norms, weights, scores."""
    folder = recipe_file.parent
    write_pairs(folder / "pairs.jsonl")
    docs = [{"text": f"Document {i}. " + "It says so. " * (i % 4 + 1)} for i in range(96)]
    (folder / "docs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in docs))
    ranks, how = ENGINES[engine]
    words = ["train.save_strategy=steps", "train.save_steps=1", "train.save_total_limit=9", "eval.every=1",
             "eval.retain.0.limit=4", "train.lr_scheduler_type=cosine", "train.learning_rate=1e-3", *STAGES[stage],
             *how]  # fmt: skip
    whole = run(recipe_file, "whole", words, ranks)
    shutil.copytree(whole, "half")
    last = read_status(whole)["steps"]
    for step in range(3, last + 1):
        shutil.rmtree(f"half/checkpoints/checkpoint-{step}")
    half = run(recipe_file, "half", [*words, "--resume"], ranks)
    assert len(curve(half)) == last >= 4 and curve(half) == curve(whole)
    assert same_weights(whole / f"checkpoints/checkpoint-{last}", half / f"checkpoints/checkpoint-{last}")
    ends = [json.loads((one / f"evals/step-{last}/summary.json").read_text())["tasks"] for one in (whole, half)]
    for name, entry in ends[0].items():
        assert entry["accuracy"] == ends[1][name]["accuracy"], name
