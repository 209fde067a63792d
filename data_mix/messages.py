"""Conversations in whatever keys and role names they come, as a list of {role, content}."""

from collections.abc import Mapping
from typing import Any

from data_mix import DataError
from data_mix.config import SourceSpec
from data_mix.json_text import parse_json
from data_mix.silence import silence

ROLES = {
    "system": "system", "developer": "system", "user": "user", "human": "user", "assistant": "assistant",
    "gpt": "assistant", "bot": "assistant",
    "model": "assistant", "chatgpt": "assistant", "tool": "tool", "observation": "tool",
    "function": "tool", "function_call": "assistant",
}  # fmt: skip


PARTS = ("text", "input_text", "output_text")
"""Types of a content's parts that are text."""


def text_due(value: Any, name: str, where: str) -> str:
    """The value, if it is text. Raises DataError: a number can be written in several ways, none is guessed."""
    if not isinstance(value, str):
        raise DataError(f"{where}: {name} {repr(value)[:80]} is no text; write it as text, or leave the row out")
    return value


def optional_text(value: Any, name: str, where: str) -> str:
    """The same of a column that a row may leave out, or leave null."""
    return "" if value is None else text_due(value, name, where)


def messages_of(value: Any, spec: SourceSpec, where: str) -> list[dict[str, Any]]:
    """A conversation with our roles. Raises DataError naming the message."""
    value = from_json(value, where) if isinstance(value, str) else value
    if value is None or value == []:
        raise DataError(f"{where}: the conversation is empty")
    if not isinstance(value, list | tuple):
        raise DataError(f"{where}: {repr(value)[:80]} is no list of messages; write it as one, or leave the row out")
    return [_message(message, spec, f"{where} message {i}") for i, message in enumerate(value, 1)]


def said_by(role: str, value: Any, name: str, spec: SourceSpec, where: str) -> list[dict[str, Any]]:
    """A column that holds one role's text, or messages. Raises DataError."""
    if isinstance(value, list | tuple):
        return messages_of(value, spec, f"{where} {name}")
    return [{"role": role, "content": text_due(value, name, where)}]


def _message(message: Any, spec: SourceSpec, where: str) -> dict[str, Any]:
    if not isinstance(message, Mapping):
        raise DataError(f"{where}: {message!r} is no mapping with a role and a content")
    role_key = spec.role_key or next((key for key in ("role", "from") if key in message), "role")
    content_key = spec.content_key or next((key for key in ("content", "value") if key in message), "content")
    said = message.get(role_key)
    role = spec.roles.get(str(said)) or ROLES.get(str(said))
    if role is None:
        raise DataError(
            f"{where}: role {said!r} is not known; map it in the recipe, as roles: {{{said}: user}} (or set role_key)"
        )
    calls = message.get("tool_calls")
    if calls and not isinstance(calls, list | tuple):
        raise DataError(f"{where}: tool_calls {repr(calls)[:80]} is no list; write a list of calls")
    if content_key not in message and not calls:
        raise DataError(f"{where}: no {content_key!r}; it has {sorted(message)} (set content_key)")
    content = message.get(content_key)
    if not (content is None and calls):
        content = _content(content, content_key, where)
    rest = {key: value for key, value in message.items() if key not in (role_key, content_key, *SWITCHES)}
    if calls:
        rest["tool_calls"] = [_call(call, where) for call in calls]
    return {"role": role, "content": content, **rest, **_switched(message, where)}


def _content(content: Any, key: str, where: str) -> str:
    """A content's text; of a list of parts their texts, one behind the other as templates print them."""
    if not isinstance(content, list | tuple):
        return text_due(content, key, where)
    texts = []
    for i, part in enumerate(content, 1):
        typed = isinstance(part, Mapping) and (part.get("type") or "text") in PARTS
        texts.append(text_due(part.get("text") if typed else part, f"{key} part {i}", where))
    return "".join(texts)


SWITCHES = ("train", "weight")
"""Keys of a message that say whether it is trained: ours, and that of OpenAI's files."""


def _switched(message: Mapping[str, Any], where: str) -> dict[str, bool]:
    """`train` as true or false, where the message says it. Raises DataError for anything but these, 1 and 0."""
    said = {key: message[key] for key in SWITCHES if message.get(key) is not None}
    for key, value in said.items():
        if not isinstance(value, bool | int | float) or value not in (0, 1):
            raise DataError(f"{where}: {key} {value!r} is neither true nor false; write one of them (or 1, 0)")
    values = {bool(value) for value in said.values()}
    if len(values) > 1:
        raise DataError(f"{where}: train says {said['train']} and weight {said['weight']}; leave one of them out")
    return {"train": values.pop()} if values else {}


def _call(call: Any, where: str) -> Any:
    """A tool call whose arguments are a map: APIs write them as JSON text, which templates would print as a string."""
    inner = call.get("function") if isinstance(call, Mapping) else None
    if not isinstance(inner, Mapping) or not isinstance(inner.get("arguments"), str):
        return call
    return {**call, "function": {**inner, "arguments": from_json(inner["arguments"] or "{}", where)}}


def with_system(messages: list[dict[str, Any]], system: str | None) -> list[dict[str, Any]]:
    """The conversation with a system message in front, unless it has one."""
    return (
        [{"role": "system", "content": system}, *messages] if system and messages[0]["role"] != "system" else messages
    )


def checked(messages: list[dict[str, Any]], where: str) -> list[dict[str, Any]]:
    """The conversation, if it can be trained on. Raises DataError where it has no answer, or a turn says nothing."""
    if not any(message["role"] == "assistant" for message in messages):
        raise DataError(f"{where}: no assistant message, so there is nothing to train")
    return spoken(messages, where)


def spoken(messages: list[dict[str, Any]], where: str) -> list[dict[str, Any]]:
    """The conversation, if every turn in it says something; a call is an answer. Raises DataError naming the turn."""
    for i, message in enumerate(messages, 1):
        if message["role"] not in ("user", "assistant") or message.get("tool_calls"):
            continue
        if how := silence(message["content"]):
            raise DataError(
                f"{where} message {i}: the {message['role']}'s content is {how}; fill it, or leave the row out"
            )
    return messages


def from_json(text: str, where: str) -> Any:
    """JSON text in a column. Raises DataError."""
    return parse_json(text, where)
