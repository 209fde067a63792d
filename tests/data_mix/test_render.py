"""Which tokens are trained: on three template styles, one of which rewrites history."""

from typing import Any

import pytest

from data_mix import DataError
from data_mix.render import ANSWERS, EVERYTHING, WORDS, Dropped, Rendering, TokenRow, tokenise
from data_mix.spans import Part

CHAT = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Hi there"},
    {"role": "assistant", "content": "Hello.\n\nHow are you?"},
    {"role": "user", "content": "2+2?"},
    {"role": "assistant", "content": "4"},
]
HEADERS = (  # headers and an end-of-turn token of another family, contents stripped
    "{{ '<|begin|>' }}{% for m in messages %}{{ '<|head|>' + m.role + '<|/head|>\n\n' + (m.content | trim) + '<|eot|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|head|>assistant<|/head|>\n\n' }}{% endif %}"
)
THINKING = (  # a reasoning style: thinking is dropped from history, and an empty block is put before the last answer
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}"
    "{% if m.role == 'assistant' %}{% set said = m.content.split('</think>')[-1].lstrip('\n') %}"
    "{% if loop.last %}{{ '<think>\n\n</think>\n\n' if '</think>' not in m.content else m.content.split('</think>')[0] + '</think>\n\n' }}{% endif %}"
    "{{ said }}{% else %}{{ m.content }}{% endif %}{{ '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
MARKED = (
    "{% for m in messages %}{% if m.role == 'assistant' %}{{ 'A:\n' }}{% generation %}{{ m.content + '<|im_end|>' }}{% endgeneration %}"
    "{% else %}{{ m.role + ': ' + m.content + '\n' }}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ 'A:\n' }}{% endif %}"
)


PLAIN = Rendering()


def rows(tokenizer: Any, row: dict[str, Any], how: Rendering = PLAIN) -> list[TokenRow]:
    out = tokenise(row, tokenizer, how)
    assert not any(isinstance(one, Dropped) for one in out)
    return out  # type: ignore[return-value]


def trained(tokenizer: Any, row: TokenRow) -> str:
    return tokenizer.decode([label for label in row.labels if label != -100])


def counts(row: TokenRow) -> dict[Part, int]:
    return {part: row.parts.count(part) for part in Part}


def test_only_answers_and_their_end_are_trained_on_chatml(tokenizer: Any) -> None:
    (row,) = rows(tokenizer, {"messages": CHAT})
    assert trained(tokenizer, row) == "Hello.\n\nHow are you?<|im_end|>4<|im_end|>"
    assert tokenizer.decode(row.input_ids) == tokenizer.apply_chat_template(CHAT, tokenize=False)


def test_only_answers_and_their_end_are_trained_on_header_style(tokenizer: Any) -> None:
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|begin|>", "<|head|>", "<|/head|>", "<|eot|>"]})
    tokenizer.chat_template = HEADERS
    (row,) = rows(tokenizer, {"messages": CHAT})
    assert trained(tokenizer, row) == "Hello.\n\nHow are you?<|eot|>4<|eot|>"


def test_generation_markers_are_taken_where_there_are_any(tokenizer: Any) -> None:
    tokenizer.chat_template = MARKED
    (row,) = rows(tokenizer, {"messages": CHAT})
    assert trained(tokenizer, row) == "Hello.\n\nHow are you?<|im_end|>4<|im_end|>"


def test_a_template_that_rewrites_history_gives_one_row_per_answer(tokenizer: Any) -> None:
    tokenizer.chat_template = THINKING
    chat = [*CHAT[:2], {"role": "assistant", "content": "<think>\nhm\n</think>\n\nHello."}, *CHAT[3:]]
    first, second = rows(tokenizer, {"messages": chat})
    assert trained(tokenizer, first) == "<think>\nhm\n</think>\n\nHello.<|im_end|>"
    assert trained(tokenizer, second) == "<think>\n\n</think>\n\n4<|im_end|>"
    assert "hm" not in tokenizer.decode(second.input_ids)


GREETING = {"role": "assistant", "content": "Ask me."}


@pytest.mark.parametrize("template", [None, HEADERS, MARKED, THINKING], ids=["chatml", "headers", "marked", "thinking"])
@pytest.mark.parametrize("system", [[], CHAT[:1]], ids=["alone", "system"])
def test_a_greeting_that_opens_the_conversation_is_an_answer_too(
    tokenizer: Any, template: str | None, system: list[dict[str, str]]
) -> None:
    """Trained with its end unless it says not to be; the answers after it are found as ever."""
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|begin|>", "<|head|>", "<|/head|>", "<|eot|>"]})
    tokenizer.chat_template = template or tokenizer.chat_template
    chat = [*system, GREETING, *CHAT[3:]]
    ids = [trained(tokenizer, row).replace("<|eot|>", "<|im_end|>") for row in rows(tokenizer, {"messages": chat})]
    assert "".join(ids).replace("<think>\n\n</think>\n\n", "") == "Ask me.<|im_end|>4<|im_end|>"
    context = [*system, {**GREETING, "train": False}, *CHAT[3:]]
    (row,) = rows(tokenizer, {"messages": context})
    assert trained(tokenizer, row).endswith(("4<|im_end|>", "4<|eot|>")) and "Ask" not in trained(tokenizer, row)
    assert "Ask me." in tokenizer.decode(row.input_ids)


def test_what_a_template_stumbles_over_is_a_data_error(tokenizer: Any) -> None:
    tokenizer.chat_template = "{% for m in messages %}{{ m.content + m.more }}{% endfor %}"
    with pytest.raises(DataError, match=r"the chat template refuses the conversation up to message 2 \(assistant\)"):
        tokenise({"messages": [{**CHAT[1], "more": 5}, {**CHAT[2], "more": 5}]}, tokenizer, PLAIN)


def test_a_template_whose_answers_cannot_be_found_is_refused_naming_the_message(tokenizer: Any) -> None:
    tokenizer.chat_template = "{{ messages | length }}{% for m in messages %}{{ m.content }}{% endfor %}"
    with pytest.raises(DataError, match=r"message 3 \(assistant\).*generation"):
        tokenise({"messages": CHAT}, tokenizer, Rendering())


@pytest.mark.parametrize("template", [None, HEADERS])
def test_instruction_modelling_counts_add_up(tokenizer: Any, template: str | None) -> None:
    """|IM| = |IT| + |I| and |IM| + |template| = all; template text, the default system message too, is never trained."""
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|begin|>", "<|head|>", "<|/head|>", "<|eot|>"]})
    tokenizer.chat_template = template or tokenizer.chat_template
    (answers,) = rows(tokenizer, {"messages": CHAT[1:]})
    (words,) = rows(tokenizer, {"messages": CHAT[1:]}, Rendering(messages=WORDS))
    it, im = (sum(label != -100 for label in row.labels) for row in (answers, words))
    n = counts(words)
    assert im == it + n[Part.INSTRUCTION]
    assert im + n[Part.TEMPLATE] == len(words.input_ids)
    end = "<|eot|>" if template else "<|im_end|>"
    assert trained(tokenizer, words) == f"Hi thereHello.\n\nHow are you?{end}2+2?4{end}"


def test_a_content_that_looks_like_the_role_is_still_found_in_its_own_place(tokenizer: Any) -> None:
    (row,) = rows(
        tokenizer,
        {"messages": [{"role": "user", "content": "user"}, {"role": "assistant", "content": "assistant"}]},
        Rendering(messages=WORDS),
    )
    assert trained(tokenizer, row) == "userassistant<|im_end|>"


def test_an_empty_instruction_makes_both_masks_equal(tokenizer: Any) -> None:
    chat = [{"role": "user", "content": ""}, {"role": "assistant", "content": "4"}]
    (it,), (im,) = rows(tokenizer, {"messages": chat}), rows(tokenizer, {"messages": chat}, Rendering(messages=WORDS))
    assert it.labels == im.labels


def test_a_message_with_train_false_is_context(tokenizer: Any) -> None:
    chat = [*CHAT[:2], {**CHAT[2], "train": False}, *CHAT[3:]]
    (row,) = rows(tokenizer, {"messages": chat})
    assert trained(tokenizer, row) == "4<|im_end|>"


def test_prompt_and_completion_conversations_train_the_completion(tokenizer: Any) -> None:
    chat, pair = {"messages": CHAT}, {"prompt": CHAT[:4], "completion": CHAT[4:]}
    (whole,), (last,) = rows(tokenizer, chat), rows(tokenizer, pair)
    assert last.input_ids == whole.input_ids
    assert trained(tokenizer, last) == "4<|im_end|>"


def test_plain_prompt_and_completion_end_with_the_end_token(tokenizer: Any) -> None:
    (row,) = rows(tokenizer, {"prompt": "Q: capital of France?\nA:", "completion": " Paris"})
    assert trained(tokenizer, row) == " Paris<|im_end|>"
    (everything,) = rows(tokenizer, {"prompt": "Q", "completion": " A"}, Rendering(completions=EVERYTHING))
    assert everything.labels == everything.input_ids


def test_answers_that_do_not_fit_whole_are_left_out_never_cut(tokenizer: Any) -> None:
    (full,) = rows(tokenizer, {"messages": CHAT})
    first_end = max(i for i in range(30) if full.labels[i] != -100) + 1
    (cut,) = rows(tokenizer, {"messages": CHAT}, Rendering(max_length=len(full.input_ids) - 2))
    assert len(cut.input_ids) == first_end
    assert trained(tokenizer, cut) == "Hello.\n\nHow are you?<|im_end|>"
    (none,) = tokenise({"messages": CHAT}, tokenizer, Rendering(max_length=first_end - 1))
    assert isinstance(none, Dropped) and "max_length" in none.reason


def test_a_conversation_without_a_template_is_refused_with_the_remedy(tokenizer: Any) -> None:
    tokenizer.chat_template = None
    with pytest.raises(DataError, match=r"model\.chat_template"):
        tokenise({"messages": CHAT}, tokenizer, Rendering())


def test_a_template_that_raises_becomes_a_data_error(tokenizer: Any) -> None:
    tokenizer.chat_template = "{{ raise_exception('no system role') }}"
    with pytest.raises(DataError, match="no system role"):
        tokenise({"messages": CHAT}, tokenizer, Rendering())


def test_agrees_with_transformers_own_assistant_mask(tokenizer: Any) -> None:
    """The mask found by rendering equals the one transformers makes from `{% generation %}` markers in the same template."""
    plain = MARKED.replace("{% generation %}", "").replace("{% endgeneration %}", "")
    tokenizer.chat_template = plain
    (found,) = rows(tokenizer, {"messages": CHAT}, Rendering(messages=ANSWERS))
    tokenizer.chat_template = MARKED
    theirs = tokenizer.apply_chat_template(CHAT, return_dict=True, return_assistant_tokens_mask=True)
    assert found.input_ids == theirs["input_ids"]
    assert [int(label != -100) for label in found.labels] == theirs["assistant_masks"]
