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
        ({"messages": [BOT, USER, BOT]}, {"messages": [BOT, USER, BOT]}),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": "q"}]}, BOT]}, CHAT),
        ({"messages": [USER, {"role": "assistant", "content": [{"type": "output_text", "text": "a"}]}]}, CHAT),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": "a "}, {"text": "b", "type": None}, "c"]}, BOT]},
         {"messages": [{"role": "user", "content": "a bc"}, BOT]}),
        ({"instruction": "q", "input": None, "output": "a"}, {"prompt": [USER], "completion": [BOT]}),
        ({"messages": [{"role": "system", "content": ""}, USER, BOT]},
         {"messages": [{"role": "system", "content": ""}, USER, BOT]}),
        ({"messages": [USER, {"role": "assistant", "content": "<think>hm</think>a"}]},
         {"messages": [USER, {"role": "assistant", "content": "<think>hm</think>a"}]}),
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
        ({"messages": 6}, "6 is no list of messages"),
        ({"messages": '"hello"'}, "'hello' is no list of messages"),
        ({"messages": [USER, {"role": "assistant", "tool_calls": 5}]}, "message 2: tool_calls 5 is no list"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}, BOT]},
            "message 1: content part 1 {'type': 'image_url'.* is no text",
        ),
        ({"messages": [{"role": "user", "content": []}, BOT]}, "message 1: the user's content is empty"),
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


@pytest.mark.parametrize(
    ("row", "name"),
    [
        ({"instruction": "q", "input": 3, "output": "a"}, "input 3"),
        ({"instruction": "q", "input": 0, "output": "a"}, "input 0"),
        ({"instruction": 3, "output": "a"}, "instruction 3"),
        ({"instruction": "q", "output": 0}, "output 0"),
        ({"prompt": "q", "completion": 6}, "completion 6"),
        ({"prompt": "q", "completion": 0}, "completion 0"),
        ({"prompt": 2.5, "completion": "a"}, "prompt 2.5"),
        ({"prompt": "q", "completion": False}, "completion False"),
        ({"text": 5}, "text 5"),
        ({**CHAT, "system": 7}, "system 7"),
        ({"messages": [{"role": "user", "content": 3}, BOT]}, "message 1: content 3"),
        ({"conversations": [{"from": "human", "value": 0}, {"from": "gpt", "value": "a"}]}, "message 1: value 0"),
        ({"prompt": "q", "chosen": 1, "rejected": "b"}, "chosen 1"),
        ({"prompt": 0, "chosen": "a", "rejected": "b"}, "prompt 0"),
        ({"prompt": 5, "verifier": "number", "answer": 10}, "prompt 5"),
        ({"prompt": "q", "verifier": "number", "completion": 0}, "completion 0"),
        ({"prompt": "q", "completion": 0, "side": "forget"}, "completion 0"),
        ({"prompt": "q", "completion": "a", "side": "forget", "value": 7}, "value 7"),
        ({"prompt": "q", "completion": "a", "side": 1}, "side 1"),
        ({"prompt": "q", "completion": "a", "side": 0}, "side 0"),
        ({"prompt": "q", "completion": "a", "side": [None]}, r"side \[None\]"),
        ({"prompt": "q", "completion": "a", "side": "forget", "wrong_answers": ["b", 4]}, "wrong_answers 2 4"),
    ],
)  # fmt: skip
def test_what_is_no_text_is_refused_in_one_sentence_whatever_the_shape(row: dict[str, Any], name: str) -> None:
    with pytest.raises(DataError, match=f"s row 1.*{name} is no text; write it as text, or leave the row out"):
        shaped(row)


SILENT = {
    " \t\n": "empty",
    "\xa0": "empty",
    "\u200b\u200d": r"empty to the eye \('\\u200b\\u200d'\)",
    "\ufeff": "empty to the eye",
    "\u3164": "empty to the eye",
    "<think>2 and 2</think>\n": "thinking only",
    "<think>I never end": "thinking only",
    "begun in the prompt</think>": "thinking only",
    "[THINK]hm[/THINK]\u200b": "thinking only",
}


@pytest.mark.parametrize(("said", "how"), SILENT.items(), ids=ascii)
def test_a_turn_that_says_nothing_is_refused_in_every_shape(said: str, how: str) -> None:
    """First, in the middle and at the end; a user's as an answer; a tool's result may be empty."""
    silent = {"role": "assistant", "content": said}
    for turns, n in (([USER, silent], 2), ([silent, USER, BOT], 1), ([USER, silent, USER, BOT], 2)):
        with pytest.raises(DataError, match=f"s row 1 message {n}: the assistant's content is {how}"):
            shaped({"messages": turns})
    with pytest.raises(DataError, match=f"message 3: the user's content is {how}"):
        shaped({"messages": [USER, BOT, {**USER, "content": said}, BOT]})
    with pytest.raises(DataError, match=f"message 2: the assistant's content is {how}"):
        shaped({"instruction": "q", "output": said})
    with pytest.raises(DataError, match=f"no completion, it is {how}"):
        shaped({"prompt": "q", "completion": said})
    with pytest.raises(DataError, match=f"s row 1 rejected: {how}"):
        shaped({"prompt": "q", "chosen": "a", "rejected": said})
    with pytest.raises(DataError, match=f"s row 1 prompt message 1: the user's content is {how}"):
        shaped({"prompt": said, "verifier": "number", "answer": "1"})
    tool = [{"role": "assistant", "content": None, "tool_calls": [{}]}, {"role": "tool", "content": said}]
    assert shaped({"messages": [USER, *tool, BOT]})["messages"][2]["content"] == said


@pytest.mark.parametrize(("key", "value", "due"), [
    ("train", 0, False), ("train", 1, True), ("train", False, False), ("weight", 0, False), ("weight", 1.0, True),
])  # fmt: skip
def test_a_message_says_with_true_or_false_whether_it_is_trained(key: str, value: Any, due: bool) -> None:
    assert shaped({"messages": [USER, {**BOT, key: value}]})["messages"][1] == {**BOT, "train": due}


@pytest.mark.parametrize(
    ("switches", "message"),
    [
        ({"train": "false"}, "train 'false' is neither true nor false"),
        ({"train": "0"}, "train '0' is neither"),
        ({"train": 2}, "train 2 is neither"),
        ({"train": []}, r"train \[\] is neither"),
        ({"weight": 0.5}, "weight 0.5 is neither"),
        ({"train": True, "weight": 0}, "train says True and weight 0"),
    ],
)
def test_what_is_neither_true_nor_false_is_refused(switches: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=f"s row 1 message 2: {message}"):
        shaped({"messages": [USER, {**BOT, **switches}]})


def test_a_message_without_a_word_on_training_stays_so() -> None:
    """Columns of one schema hold null where nothing was said."""
    assert shaped({"messages": [{**USER, "train": None}, {**BOT, "weight": None}]}) == CHAT


def test_a_column_that_is_not_there_is_named() -> None:
    with pytest.raises(DataError, match=r"columns names \['q'\], the row has \['a'\]"):
        shaped({"a": "x"}, columns={"prompt": "q"})


def test_what_a_row_tells_its_template_is_a_map_or_json_text_of_one() -> None:
    assert shaped({**CHAT, "chat_template_kwargs": '{"enable_thinking": false}'}) == {
        **CHAT, "chat_template_kwargs": {"enable_thinking": False}
    }  # fmt: skip
    assert shaped({**CHAT, "chat_template_kwargs": " ", "tools": "[]"}) == CHAT
    for wrong, said in (
        ({"chat_template_kwargs": "[1]"}, r"chat_template_kwargs \[1\] is no map"),
        ({"chat_template_kwargs": 3}, "chat_template_kwargs 3 is no map"),
        ({"chat_template_kwargs": "{'a': 1}"}, "chat_template_kwargs: not JSON"),
        ({"chat_template_kwargs": {"tokenize": False}}, "chat_template_kwargs sets 'tokenize'"),
        ({"tools": {"a": 1}}, "is no list of tool descriptions"),
        ({"tools": ["search"]}, "is no list of tool descriptions"),
    ):
        with pytest.raises(DataError, match=f"s row 1:? {said}|s row 1: .*{said}"):
            shaped({**CHAT, **wrong})


@pytest.mark.parametrize("answers", ["b", 5, {"a": 1}])
def test_wrong_answers_are_a_list(answers: object) -> None:
    row = {"prompt": "q", "completion": "a", "side": "forget", "wrong_answers": answers}
    with pytest.raises(DataError, match="wrong_answers .* is no list; write one of texts"):
        shaped(row)
