"""Shapes of rows brought to TRL's columns; what cannot be is refused, naming the message."""

from typing import Any

import pytest

from data_mix import DataError
from data_mix.config import SourceSpec
from data_mix.shapes import normalise

USER, BOT = {"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}
CHAT = {"messages": [USER, BOT]}


def shaped(row: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return normalise(row, SourceSpec(name="s", source="jsonl", **spec), "s row 1")


@pytest.mark.parametrize(
    ("row", "due"),
    [
        (CHAT, CHAT),
        ({"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]}, CHAT),
        ({"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}], "system": "s"},
         {"messages": [{"role": "system", "content": "s"}, USER, BOT]}),
        ({"instruction": "q", "input": "", "output": "a"}, {"prompt": [USER], "completion": [BOT]}),
        ({"instruction": "q", "input": "x", "output": "a"},
         {"prompt": [{"role": "user", "content": "q\n\nx"}], "completion": [BOT]}),
        ({"prompt": "q", "completion": "a"}, {"prompt": "q", "completion": "a"}),
        ({"prompt": [USER], "completion": "a"}, {"prompt": [USER], "completion": [BOT]}),
        ({"text": "words"}, {"text": "words"}),
    ],
)  # fmt: skip
def test_the_known_shapes(row: dict[str, Any], due: dict[str, Any]) -> None:
    assert shaped(row) == due


def test_columns_and_keys_are_mapped() -> None:
    assert shaped({"q": "x", "a": "y", "id": 3}, columns={"prompt": "q", "completion": "a"}) == {
        "prompt": "x",
        "completion": "y",
    }
    row = {"messages": [{"who": "operator", "says": "q"}, {"who": "assistant", "says": "a"}]}
    assert shaped(row, role_key="who", content_key="says", roles={"operator": "user"}) == CHAT


def test_a_system_message_is_put_where_there_is_none() -> None:
    own = {"role": "system", "content": "own"}
    assert shaped(CHAT, system="be kind")["messages"][0] == {"role": "system", "content": "be kind"}
    assert shaped({"messages": [own, USER, BOT]}, system="be kind")["messages"][0] == own


def test_a_tool_calls_arguments_become_a_map() -> None:
    call = {"type": "function", "id": "1", "function": {"name": "f", "arguments": '{"a": [1]}'}}
    chat = [*CHAT["messages"][:1], {"role": "assistant", "content": None, "tool_calls": [call]}]
    made = shaped({"messages": chat})["messages"][-1]["tool_calls"]
    assert made == [{"type": "function", "id": "1", "function": {"name": "f", "arguments": {"a": [1]}}}]
    with pytest.raises(DataError, match="not JSON"):
        shaped({"messages": [chat[0], {**chat[1], "tool_calls": [{"function": {"name": "f", "arguments": "{"}}]}]})


def test_tools_come_as_a_list_or_as_json() -> None:
    tool = {"type": "function", "function": {"name": "f", "parameters": {"default": None}}}
    assert shaped({**CHAT, "tools": [tool]})["tools"] == [tool]
    text = '[{"type": "function", "function": {"name": "f", "parameters": {"default": null}}}]'
    assert shaped({**CHAT, "functions": text}, tools="functions")["tools"] == [tool]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"question": "q"}, r"columns \['question'\] are no shape that is known.*columns: \{prompt: question"),
        ({"messages": [BOT, USER]}, "message 1: a conversation must not begin with the assistant"),
        ({"messages": [USER]}, "no assistant message"),
        ({"messages": []}, "the conversation is empty"),
        ({"messages": [USER, {"role": "robot", "content": "a"}]}, "message 2: role 'robot' is not known"),
        ({"messages": [USER, {"role": "assistant", "content": ""}]}, "message 2: the assistant's content is empty"),
        ({"messages": [USER, {"role": "assistant", "text": "a"}]}, "message 2: no 'content'"),
        ({"messages": ["hello"]}, "message 1: 'hello' is no mapping"),
        ({"prompt": "q", "completion": ""}, "no completion"),
        ({"prompt": "q", "completion": None}, "no completion"),
        ({"text": " "}, "text is empty"),
        ({**CHAT, "tools": "[{"}, "not JSON"),
    ],
)
def test_what_cannot_be_is_refused_naming_row_and_message(row: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=f"s row 1.*{message}"):
        shaped(row)


@pytest.mark.parametrize(
    ("answer", "due"),
    [
        (["Amsterdam", "Mokum"], ["Amsterdam", "Mokum"]),
        (("Amsterdam",), ["Amsterdam"]),
        ([3, 0.5, True], ["3", "0.5", "True"]),
        (42, "42"),
        ("['a', 'b']", "['a', 'b']"),
    ],
)
def test_gold_answers_are_texts_and_several_stay_several(answer: Any, due: Any) -> None:
    assert shaped({"prompt": "q", "answer": answer, "verifier": "exact"})["answer"] == due


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ([], "answer is empty"),
        (["a", " "], "answer is empty"),
        (["a", None], "answer is empty"),
        ([["a"]], r"answer \['a'\] is no gold answer; write a text or number, or a list of them"),
        ({"value": "a"}, r"answer \{'value': 'a'\} is no gold answer"),
    ],
)
def test_gold_answers_that_cannot_be_are_refused(answer: Any, message: str) -> None:
    with pytest.raises(DataError, match=f"s row 1: {message}"):
        shaped({"prompt": "q", "answer": answer, "verifier": "exact"})


def test_a_column_that_is_not_there_is_named() -> None:
    with pytest.raises(DataError, match=r"columns names \['q'\], the row has \['a'\]"):
        shaped({"a": "x"}, columns={"prompt": "q"})
