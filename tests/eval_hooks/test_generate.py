"""Greedy answers: batched equals one by one, and nothing of the model's own generation settings leaks in."""

from typing import Any

import pytest
import torch
from transformers import GenerationConfig, LlamaForCausalLM

from eval_hooks import EvalError
from eval_hooks.generate import answers
from eval_hooks.items import GenerateItem

ITEMS = [
    GenerateItem(item_id=str(i), prompt=text, gold="")
    for i, text in enumerate(["one", "a much longer prompt than the first", "two three"])
]


def greedy(model: Any, ids: list[int], n: int) -> list[int]:
    """Greedy decoding written out: argmax of the full logits, one token at a time, no cache."""
    out = list(ids)
    for _ in range(n):
        with torch.no_grad():
            out.append(int(model(torch.tensor([out]), use_cache=False).logits[0, -1].argmax()))
        if out[-1] == 2:
            break
    return out[len(ids) :]


def test_batched_answers_equal_greedy_decoding_by_hand(tokenizer: Any, tiny: LlamaForCausalLM) -> None:
    for item, answer in zip(ITEMS, answers(tiny, tokenizer, ITEMS, 6), strict=True):
        new = greedy(tiny, tokenizer(item.prompt)["input_ids"], 6)
        assert answer.text == tokenizer.decode(new, skip_special_tokens=True)
        assert answer.n_tokens == len(new)


def test_a_models_own_penalty_and_sampling_do_not_leak_in(tokenizer: Any, tiny: LlamaForCausalLM) -> None:
    plain = answers(tiny, tokenizer, ITEMS, 8)
    own = GenerationConfig(
        repetition_penalty=5.0,
        no_repeat_ngram_size=1,
        do_sample=True,
        temperature=9.0,
        min_new_tokens=5,
        eos_token_id=2,
    )
    tiny.generation_config = own
    assert answers(tiny, tokenizer, ITEMS, 8) == plain
    assert tiny.generation_config is own


def test_an_answer_without_a_stop_token_has_hit_the_limit(tokenizer: Any, tiny: LlamaForCausalLM) -> None:
    first = answers(tiny, tokenizer, ITEMS[:1], 4)[0]
    assert first.hit_limit and first.n_tokens == 4
    tiny.generation_config.eos_token_id = [2, greedy(tiny, tokenizer("one")["input_ids"], 1)[0]]
    stopped = answers(tiny, tokenizer, ITEMS[:1], 4)[0]
    assert not stopped.hit_limit and stopped.n_tokens == 1


def test_conversations_are_rendered_with_the_generation_prompt(tokenizer: Any, tiny: LlamaForCausalLM) -> None:
    item = GenerateItem(item_id="0", prompt=[{"role": "user", "content": "hi"}], gold="")
    answer = answers(tiny, tokenizer, [item], 2)[0]
    assert answer.prompt.endswith("<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n")
    tokenizer.chat_template = None
    with pytest.raises(EvalError, match="chat template"):
        answers(tiny, tokenizer, [item], 2)
