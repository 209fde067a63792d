"""Answers by a trainer's vLLM engine. Here something with TRL's names stands in for it, which asks the model itself.

tests/trainers/test_vllm.py runs the real one where it is installed.
"""

import inspect
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from transformers import LlamaForCausalLM
from trl.generation.vllm_generation import VLLMGeneration

from eval_hooks import vllm
from eval_hooks.generate import answers, continuations
from eval_hooks.vllm import written, written_by
from tests.conftest import tiny_llama
from tests.eval_hooks.test_generate import ITEMS, greedy

DRAWS = {
    "temperature": 0.7,
    "top_p": 0.9,
    "top_k": 40,
    "min_p": 0.1,
    "repetition_penalty": 1.2,
    "max_completion_length": 3,
    "structured_outputs_regex": "[a-z]+",
    "generation_kwargs": {"presence_penalty": 1.0},
}


class StandIn:
    """Takes what TRL's engine takes. A stop token ends an answer, as in vLLM; a stop text does not."""

    def __init__(self, model: Any) -> None:
        self.model, self.synced = model, 0
        self.asked: list[int] = []
        vars(self).update(DRAWS)

    def sync_weights(self) -> None:
        self.synced += 1

    def generate(self, prompts: list[list[int]], images: None, num_generations: int) -> tuple[Any, ...]:
        assert (self.temperature, self.top_p, self.top_k, self.min_p) == (0.0, 1.0, 0, 0.0)
        assert self.repetition_penalty == 1.0 and self.structured_outputs_regex is None and num_generations == 1
        self.asked.append(len(prompts))
        rows = [greedy(self.model, ids, self.max_completion_length) for ids in prompts]
        return prompts, [[*row, 7] if row[-1] == 2 else row for row in rows], None, None


def trainer_with(engine: Any) -> Any:
    return SimpleNamespace(vllm_generation=engine, _last_loaded_step=-1, state=SimpleNamespace(global_step=0))


def test_what_is_set_and_asked_is_what_trls_engine_has() -> None:
    assert DRAWS.keys() <= inspect.signature(VLLMGeneration.__init__).parameters.keys()
    assert {"prompts", "images", "num_generations"} <= inspect.signature(VLLMGeneration.generate).parameters.keys()
    assert hasattr(VLLMGeneration, "sync_weights")


def test_its_answers_are_those_of_greedy_decoding_and_its_own_settings_come_back(
    tokenizer: Any, tiny: LlamaForCausalLM
) -> None:
    alone = answers(tiny, tokenizer, ITEMS, 6)
    engine = StandIn(tiny)
    with written_by(trainer_with(engine), tiny):
        assert answers(tiny, tokenizer, ITEMS, 6) == alone
    assert engine.asked == [3] and {name: getattr(engine, name) for name in DRAWS} == DRAWS
    assert vllm.engine() is None


def test_weights_go_there_once_a_step_and_not_again_for_the_trainer(tiny: LlamaForCausalLM) -> None:
    trainer = trainer_with(StandIn(tiny))
    for step in (0, 0, 4):
        trainer.state.global_step = step
        with written_by(trainer, tiny):
            pass
        assert trainer._last_loaded_step == step
    assert trainer.vllm_generation.synced == 2


def test_what_is_drawn_is_the_models_own(tokenizer: Any, tiny: LlamaForCausalLM) -> None:
    engine = StandIn(tiny)
    with written_by(trainer_with(engine), tiny):
        drawn = continuations(tiny, tokenizer, [[5, 6]], 4, sample=True)
    assert drawn == continuations(tiny, tokenizer, [[5, 6]], 4, sample=True) and not engine.asked


@pytest.mark.parametrize("n", [1, 2, 5, 8])
def test_ranks_take_turns_and_hand_over_equally_many_each_time(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 5 prompts, rank 0 of 2 has 0, 2 and 4, and rank 1 has 1, 3 and a repeated one; two at a time."""
    model = tiny_llama()
    prompts = [[3 + i, 9, 4] for i in range(n)]
    monkeypatch.setattr(vllm, "AT_ONCE", 2)
    monkeypatch.setattr(vllm, "raise_everywhere", lambda failed: None)
    found: dict[int, list[int]] = {}
    asked = []

    def merged(own: dict[int, list[int]]) -> dict[int, list[int]]:
        found.update(own)
        return found

    monkeypatch.setattr(vllm, "from_all", merged)
    for rank in (0, 1):
        monkeypatch.setattr(vllm, "place", lambda rank=rank: (rank, 2))
        shown: list[int] = []
        engine = StandIn(model)
        rows = written(engine, prompts, (2,), 3, (), shown.append)
        asked.append(engine.asked)
        assert sum(shown) == n
    assert asked[0] == asked[1] and sum(asked[0]) == -(-n // 2)
    assert rows == [greedy(model, ids, 3) for ids in prompts]


def test_a_failure_leaves_the_engine_as_it_was(tiny: LlamaForCausalLM, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = StandIn(tiny)

    def fails(prompts: Sequence[Any], images: None, num_generations: int) -> None:
        raise RuntimeError("no room for a prompt of 9,000 tokens")

    monkeypatch.setattr(engine, "generate", fails)
    with pytest.raises(RuntimeError, match="no room"), written_by(trainer_with(engine), tiny):
        written(vllm.engine(), [[1]], (2,), 3, (), lambda n: None)
    assert {name: getattr(engine, name) for name in DRAWS} == DRAWS and vllm.engine() is None
