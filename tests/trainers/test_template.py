"""System messages reach the model whatever its template makes of them."""

from pathlib import Path
from typing import Any

import pytest
import trl

from trainers.template import FOLDED, takes_system, with_system_role

FOLDER = Path(trl.__file__).parent / "chat_templates"
CHAT = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "Hello"},
    {"role": "user", "content": "Bye"},
]


def text(tokenizer: Any, messages: list[dict[str, str]]) -> str:
    return tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)


def test_a_template_that_refuses_a_system_message_gets_it_in_the_first_user_turn(tokenizer: Any) -> None:
    tokenizer.chat_template = (FOLDER / "gemma.jinja").read_text("utf-8")
    without = text(tokenizer, CHAT[1:])
    tokenizer.chat_template = with_system_role(tokenizer)
    assert text(tokenizer, CHAT) == without.replace("user\nHi", "user\nBe brief.\n\nHi")
    assert text(tokenizer, CHAT[1:]) == without


def test_a_template_that_leaves_a_system_message_out_gets_it_too(tokenizer: Any) -> None:
    tokenizer.chat_template = "{% for m in messages if m.role != 'system' %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    tokenizer.chat_template = with_system_role(tokenizer)
    assert text(tokenizer, CHAT) == "user: Be brief.\n\nHi\nassistant: Hello\nuser: Bye\n"


@pytest.mark.parametrize("family", ["qwen3", "llama3", "gemma3", "phi3", "deepseekv3", "gptoss", "glm4moe"])
def test_templates_with_system_messages_stay_as_they_are(tokenizer: Any, family: str) -> None:
    tokenizer.chat_template = (FOLDER / f"{family}.jinja").read_text("utf-8")
    assert takes_system(tokenizer) and with_system_role(tokenizer) == tokenizer.chat_template


def test_a_template_that_renders_nothing_plain_is_left_to_its_own_error(tokenizer: Any) -> None:
    tokenizer.chat_template = "{{ raise_exception('no') }}"
    assert not with_system_role(tokenizer).startswith(FOLDED)


def test_no_template_stays_none(tokenizer: Any) -> None:
    tokenizer.chat_template = None
    assert with_system_role(tokenizer) is None
