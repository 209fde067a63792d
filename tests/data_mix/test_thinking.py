"""Reasoning models' conversations, on templates that TRL ships as their models have them."""

from pathlib import Path
from typing import Any

import pytest
import trl

from data_mix import DataError
from data_mix.forms import encode_prompt
from data_mix.render import Rendering, TokenRow, tokenise
from data_mix.thinking import thinking_of, without_thinking

CHAT = [
    {"role": "user", "content": "2 + 2?"},
    {"role": "assistant", "content": "<think>\nAdd them.\n</think>\n\nFour."},
    {"role": "user", "content": "And 3 + 3?"},
    {"role": "assistant", "content": "Six.", "reasoning_content": "Twice three."},
]


def template(name: str) -> str:
    return (Path(trl.__file__).parent / "chat_templates" / f"{name}.jinja").read_text("utf-8")


@pytest.fixture
def qwen(tokenizer: Any) -> Any:
    """SmolLM2's tokens, Qwen3's template, which prints the thinking of the last turn only."""
    tokenizer.chat_template = template("qwen3")
    return tokenizer


def read(tokenizer: Any, how: Rendering, chat: list[dict[str, Any]] = CHAT, **more: Any) -> list[tuple[str, str]]:
    """(what is context, what is trained) of each row."""
    out = []
    for row in tokenise({"messages": chat, **more}, tokenizer, how):
        assert isinstance(row, TokenRow)
        start = next(i for i, label in enumerate(row.labels) if label != -100)
        out.append((tokenizer.decode(row.input_ids[:start]),
                    tokenizer.decode([label for label in row.labels if label != -100])))  # fmt: skip
    return out


@pytest.mark.parametrize(
    ("message", "thought", "said"),
    [
        (CHAT[1], "Add them.", "Four."),
        (CHAT[3], "Twice three.", "Six."),
        ({"role": "assistant", "content": "Plain."}, "", "Plain."),
        ({"role": "assistant", "content": "I <think> not </think>"}, "", "I <think> not </think>"),
        ({"role": "assistant", "content": None, "thinking": "call it", "tool_calls": [1]}, "call it", ""),
        ({"role": "user", "content": "<think>mine</think>x"}, "", "<think>mine</think>x"),
    ],
)
def test_thinking_is_found_in_its_block_or_its_key(message: dict[str, Any], thought: str, said: str) -> None:
    assert thinking_of(message) == thought
    assert without_thinking(message).get("content") == said


def test_the_templates_own_way_gives_each_turn_a_row_where_it_rewrites_history(qwen: Any) -> None:
    (first, second) = read(qwen, Rendering())
    assert first[1].startswith("<think>\nAdd them.") and first[1].endswith("Four.<|im_end|>")
    assert "Add them." not in second[0] and "Four." in second[0]
    assert second[1].startswith("<think>\nTwice three.")


def test_last_keeps_the_thinking_of_the_trained_turn_whatever_the_template(tokenizer: Any) -> None:
    """ChatML prints contents as they are, so history would keep its thinking."""
    chat = [*CHAT[:3], {"role": "assistant", "content": "<think>Twice.</think>Six."}]
    (whole,) = read(tokenizer, Rendering(), chat)
    assert "Add them." in whole[1] and "Twice." in whole[1]
    (first, second) = read(tokenizer, Rendering(thinking="last"), chat)
    assert first[1] == "<think>\nAdd them.\n</think>\n\nFour.<|im_end|>"
    assert "Add them." not in second[0] and second[0].count("Four.") == 1
    assert second[1] == "<think>Twice.</think>Six.<|im_end|>"


def test_drop_trains_no_thinking_at_all(tokenizer: Any, qwen: Any) -> None:
    rows = read(qwen, Rendering(thinking="drop", template_kwargs={"enable_thinking": False}))
    assert all("Add them." not in text and "Twice three." not in text for row in rows for text in row)


def test_keep_is_refused_where_the_template_drops_it_and_holds_where_it_does_not(tokenizer: Any) -> None:
    kept = [*CHAT[:3], {"role": "assistant", "content": "<think>Twice.</think>Six."}]
    assert len(read(tokenizer, Rendering(thinking="keep"), kept)) == 1
    tokenizer.chat_template = template("qwen3")
    with pytest.raises(DataError, match=r"message 2 \(assistant\).*data.thinking: last"):
        tokenise({"messages": CHAT}, tokenizer, Rendering(thinking="keep"))


def test_only_the_last_turn_is_trained_where_asked(tokenizer: Any) -> None:
    (row,) = read(tokenizer, Rendering(turns="last", thinking="drop"))
    assert row[1] == "Six.<|im_end|>" and "Four." in row[0]


def test_a_rows_own_template_settings_win(qwen: Any) -> None:
    """Qwen3's switch puts an empty block into the generation prompt; it is context then, and not trained."""
    chat = CHAT[2:3] + [{"role": "assistant", "content": "Six."}]
    (thinks,) = read(qwen, Rendering(), chat)
    (plain,) = read(qwen, Rendering(), chat, chat_template_kwargs={"enable_thinking": False})
    assert thinks[1] == "<think>\n\n</think>\n\nSix.<|im_end|>" and plain[1] == "Six.<|im_end|>"


def test_prompts_of_rlvr_lose_their_historys_thinking(tokenizer: Any) -> None:
    row = {"prompt": CHAT[:3], "answer": "6", "verifier": "number"}
    (kept,), (dropped,) = (encode_prompt(row, tokenizer, Rendering(thinking=t)) for t in ("keep", "last"))
    assert "Add them." in str(kept.row) and "Add them." not in str(dropped.row)  # type: ignore[union-attr]
    assert dropped.tokens < kept.tokens  # type: ignore[union-attr]


TOOL = {"type": "function", "function": {"name": "add", "description": "Add.", "parameters": {"type": "object"}}}
CALLS = [
    {"role": "user", "content": "2 + 2?"},
    {"role": "assistant", "content": "", "tool_calls": [{"type": "function", "function": {"name": "add", "arguments": {"a": 2}}}]},
    {"role": "tool", "name": "add", "content": "4"},
    {"role": "assistant", "content": "Four."},
]  # fmt: skip


@pytest.mark.parametrize("family", ["qwen3", "qwen2_5", "llama3_1", "glm4moe"])
def test_tool_calls_are_trained_and_tool_results_are_not(tokenizer: Any, family: str) -> None:
    tokenizer.chat_template = template(family)
    rows = read(tokenizer, Rendering(), CALLS, tools=[TOOL])
    trained = "".join(text for _, text in rows)
    assert "Four." in trained and "add" in trained and '"Add."' not in trained
    assert rows[0][0].count("add") >= 1  # the tool is described to the model


@pytest.mark.parametrize("content", [" " * 500_000, "<think>" * 100_000, "x <think>y</think>"])
def test_thinking_in_a_key_of_its_own_leaves_the_content_as_it_is(content: str) -> None:
    """Whatever its length: looked for anywhere, the first two would take hours."""
    message = {"role": "assistant", "content": content, "reasoning_content": "y"}
    assert without_thinking(message) == {"role": "assistant", "content": content}
