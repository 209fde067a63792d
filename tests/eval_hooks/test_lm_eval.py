"""lm-evaluation-harness's log-probabilities and predictions, on SmolLM2 in fp32: letters and cloze, 0 and 5 shots."""

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoModelForCausalLM

from eval_hooks.config import TaskSpec
from eval_hooks.encode import encode
from eval_hooks.scoring.options import score
from eval_hooks.tasks import mmlu
from eval_hooks.tasks.pocket import load

REFERENCE = json.loads(Path(__file__).with_name("lm_eval_scores.json").read_text("utf-8"))
"""Written by make_lm_eval_scores.py, with the version of lm-eval in it."""
MMLU = json.loads(Path(__file__).with_name("lm_eval_mmlu_scores.json").read_text("utf-8"))
"""Written by `python -m tests.benchmarks.lm_eval_equality store`: ids and numbers, no text."""


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


@pytest.mark.parametrize("shots", [0, 5])
def test_lm_eval_gives_the_same_numbers_on_real_questions_with_stray_white_space(
    shots: int, smollm2: Path, tokenizer: Any, shared_data: Path
) -> None:
    """40 items of four subjects; those of two begin or end in white space."""
    due = MMLU["logp"][f"{shots} shots"]
    names = tuple(dict.fromkeys(item.partition("/")[0] for item in due))
    spec = TaskSpec(task="mmlu", path=str(shared_data / "mmlu"), shots=shots, subjects=names, limit=len(due))
    items = encode(mmlu.load(spec), spec, tokenizer, 8192)
    assert [item.item.item_id for item in items] == list(due) and len(names) == 4
    assert sum(item.item.question != item.item.question.strip() for item in items) >= 10
    model = AutoModelForCausalLM.from_pretrained(smollm2, dtype="float32").eval()
    for item, scores in zip(items, score(model, items), strict=True):
        theirs = due[item.item.item_id]
        assert list(scores.logp) == pytest.approx(theirs, abs=1e-3)
        assert scores.logp.index(max(scores.logp)) == theirs.index(max(theirs))
