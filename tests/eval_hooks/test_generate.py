"""Greedy answers: batched equals one by one, and nothing of the model's own generation settings leaks in."""

from typing import Any

import pytest
import torch
from transformers import GenerationConfig, LlamaForCausalLM

from eval_hooks import EvalError
from eval_hooks.config import TaskSpec
from eval_hooks.generate import answers, check_writes
from eval_hooks.items import GenerateItem
from eval_hooks.ready import load_items, reader_of, ready
from tests.conftest import tiny_llama

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


def test_a_model_that_cannot_write_is_refused_for_what_needs_it_and_only_for_that(tokenizer: Any) -> None:
    from transformers import LlamaConfig, LlamaForSequenceClassification

    small = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    judge = LlamaForSequenceClassification(LlamaConfig(vocab_size=64, **small))
    with pytest.raises(EvalError, match="sql: LlamaForSequenceClassification cannot generate text"):
        check_writes(judge, ["sql"])
    check_writes(judge, [])
    check_writes(tiny_llama(), ["sql"])
    reader = reader_of(tiny_llama(), tokenizer, {})
    rows = [{"prompt": "a", "answer": "b"}]
    for task, rows_of, generates in (("pocket", None, False), ("sql", rows, True)):
        spec = TaskSpec(task=task, shots=0, limit=2)
        assert ready(spec, "target", reader, load_items(spec, rows_of)).generates is generates
