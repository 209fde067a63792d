"""System messages and the beginning token reach the model whatever its template makes of them."""

from pathlib import Path
from typing import Any

import pytest
import trl

from data_mix.render import Rendering, tokenise
from eval_hooks.config import TaskSpec
from eval_hooks.encode import encode
from eval_hooks.generate import render
from eval_hooks.harness.requests import Words
from eval_hooks.items import ChoiceItem, ChoiceSet, RecallItem
from eval_hooks.ready import Reader
from eval_hooks.recall import encode_recall
from tests.conftest import tiny_llama
from trainers.models import load_tokenizer
from trainers.recipe import ModelSection
from trainers.template import FOLDED, folds_system, takes_system, with_begin, with_system_role

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


def test_a_system_message_before_a_greeting_goes_to_the_user_who_speaks_first(tokenizer: Any) -> None:
    tokenizer.chat_template = FOLDED + PLAIN
    system, user, assistant = CHAT[:3]
    assert text(tokenizer, [system, assistant, user]) == "assistant: Hello\nuser: Be brief.\n\nHi\n"
    assert text(tokenizer, [{**system, "content": ""}, user]) == "user: Hi\n"


@pytest.mark.parametrize(
    ("family", "folds"),
    [("gemma", True), ("gemma3", True), ("qwen3", False), ("llama3", False), ("phi3", False), (None, False)],
)
def test_it_is_known_whose_template_puts_the_system_message_into_the_users_turn(
    tokenizer: Any, family: str | None, folds: bool
) -> None:
    """Gemma refuses a system message and Gemma 3 folds it itself; the others, SmolLM2 too, have a turn for it."""
    if family:
        tokenizer.chat_template = (FOLDER / f"{family}.jinja").read_text("utf-8")
    tokenizer.chat_template = with_system_role(tokenizer)
    assert folds_system(tokenizer) == folds


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


@pytest.fixture
def beginning(tokenizer: Any) -> Any:
    """A tokenizer that begins every text with <|endoftext|>, as Llama's and Gemma's begin theirs."""
    from tokenizers.processors import TemplateProcessing

    tokenizer.bos_token = "<|endoftext|>"
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<|endoftext|> $A", pair="<|endoftext|> $A $B", special_tokens=[("<|endoftext|>", 0)]
    )
    return tokenizer


PLAIN = "{% for m in messages %}{{ m.role ~ ': ' ~ m.content ~ '\n' }}{% endfor %}"
ASKS = "{% if add_generation_prompt %}{{ 'assistant:' }}{% endif %}"
OWN = "{{ bos_token }}" + PLAIN + ASKS
STRICT = "{%- for m in messages -%}{% if m.role == 'system' %}{{ raise_exception('no system') }}{% endif %}{{ m.content }}|{%- endfor -%}"


@pytest.mark.parametrize(
    "template", [PLAIN + ASKS, "\n" + PLAIN + ASKS, OWN, STRICT], ids=["none", "line", "own", "strict"]
)
def test_a_conversation_begins_alike_in_training_and_in_every_evaluation(
    beginning: Any, tmp_path: Path, template: str
) -> None:
    """Whoever prints it, token 0 stands there once: in a trained row, a pair, a rollout, and each kind of evaluation."""
    beginning.chat_template = template
    tiny_llama().save_pretrained(tmp_path)
    beginning.save_pretrained(tmp_path)
    tokenizer = load_tokenizer(ModelSection(path=str(tmp_path)))
    asked, answer = [{"role": "user", "content": "Hi"}], [{"role": "assistant", "content": "Hello"}]
    (row,) = tokenise({"prompt": asked, "completion": answer}, tokenizer, Rendering())
    item = ChoiceItem(item_id="a/0", subject="a", question="Hi", choices=("x", "y"), gold=0)
    spec = TaskSpec(task="mmlu", shots=0, chat_template=True)
    (choice,) = encode(ChoiceSet(items=(item,)), spec, tokenizer, 500)
    recall = RecallItem(item_id="a/0", prompt=asked, answer="Hello", value="Hello")
    recalled = encode_recall(recall, render(recall, tokenizer, {}), tokenizer)
    rollout = tokenizer.apply_chat_template(asked, add_generation_prompt=True, return_dict=True)["input_ids"]
    harness = Words(Reader(tokenizer=tokenizer)).ids(render(recall, tokenizer, {}))
    (plain,) = tokenise({"text": "Hi"}, tokenizer, Rendering())
    for ids in (row.input_ids, choice.shared, recalled.shared, rollout, harness, plain.input_ids):  # type: ignore[union-attr]
        assert list(ids[:2]).count(0) == 1 and ids[0] == 0


def test_a_tokenizer_that_adds_no_beginning_gives_its_template_none(tokenizer: Any) -> None:
    assert tokenizer.bos_token and with_begin(tokenizer, PLAIN) == PLAIN
