"""Two ranks under ZeRO-3 certify what they gathered; environment.json names both hosts."""

import json
import platform
from pathlib import Path

import pytest

from tests.trainers.test_ranks import run

LORA = ["adapter={kind: lora, r: 4}"]


@pytest.mark.soak
@pytest.mark.parametrize(
    "words", [pytest.param([], id="full fp32"), pytest.param([*LORA, "train.bf16=true"], id="lora bf16")]
)
def test_what_two_ranks_gathered_is_what_they_measured(recipe_file: Path, words: list[str]) -> None:
    """A difference of 0 in fp32 although the trainer's weights were sharded; in bf16 less than a rounding of one logit."""
    every = [
        "deepspeed=zero3",
        "train.max_steps=2",
        "eval.certify=true",
        "train.save_strategy=steps",
        "train.save_steps=2",
    ]
    folder = run(recipe_file, "two", [*every, *words], 2)
    made = json.loads((folder / "checkpoints/checkpoint-2/certificate.json").read_text())
    rows = {row["form"]: row for row in made["rows"]}
    assert made["passed"] and rows["8bit"]["largest"] > 0
    assert rows["reloaded"]["largest"] <= (0.01 if words else 0.0)
    assert made["arithmetic"] == ("bfloat16" if words else "float32") and ("merged" in rows) == bool(words)
    assert json.loads((folder / "status.json").read_text())["certificates"]["2"].startswith("passed")
    found = json.loads((folder / "environment.json").read_text())
    assert found["hosts"] == [platform.node()] * 2 and found["world_size"] == 2
