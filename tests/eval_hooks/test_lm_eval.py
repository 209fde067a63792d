"""The same log-probabilities and predictions as lm-evaluation-harness, on SmolLM2 in fp32, letters and cloze, 5 shots."""

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoModelForCausalLM

from eval_hooks.config import TaskSpec
from eval_hooks.encode import encode
from eval_hooks.scoring import score
from eval_hooks.tasks.pocket import load

REFERENCE = json.loads(Path(__file__).with_name("lm_eval_scores.json").read_text("utf-8"))
"""Written by make_lm_eval_scores.py, with the version of lm-eval in it."""


@pytest.mark.parametrize("variant", ["lm_eval", "olmes_cf"])
def test_lm_eval_gives_the_same_numbers(variant: Any, smollm2: Path, tokenizer: Any) -> None:
    model = AutoModelForCausalLM.from_pretrained(smollm2, dtype="float32").eval()
    names = ("astronomy", "marketing")
    spec = TaskSpec(task="pocket", variant=variant, shots=REFERENCE["shots"], subjects=names)
    items = list(encode(load(spec), spec, tokenizer, 8192, {}))
    assert len(items) == 20
    for item, scores in zip(items, score(model, items), strict=True):
        due = REFERENCE["logp"][f"{variant}/{item.item.item_id}"]
        assert list(scores.logp) == pytest.approx(due, abs=1e-3)
        assert scores.logp.index(max(scores.logp)) == due.index(max(due))
