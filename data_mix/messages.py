"""Conversations in whatever keys and role names they come, as a list of {role, content}."""

from collections.abc import Mapping, Sequence
from typing import Any

from data_mix import DataError
from data_mix.config import SourceSpec
from data_mix.json_text import parse_json

ROLES = {
    "system": "system", "developer": "system", "user": "user", "human": "user", "assistant": "assistant",
    "gpt": "assistant", "bot": "assistant",
    "model": "assistant", "chatgpt": "assistant", "tool": "tool", "observation": "tool",
    "function": "tool", "function_call": "assistant",
}  # fmt: skip


def messages_of(value: Any, spec: SourceSpec, where: str) -> list[dict[str, Any]]:
    """A conversation with our roles. Raises DataError naming the message."""
    value = from_json(value, where) if isinstance(value, str) else value
    if not isinstance(value, Sequence) or not value:
        raise DataError(f"{where}: the conversation is empty")
    return [_message(message, spec, f"{where} message {i}") for i, message in enumerate(value, 1)]


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
    if content_key not in message and not message.get("tool_calls"):
        raise DataError(f"{where}: no {content_key!r}; it has {sorted(message)} (set content_key)")
    content = message.get(content_key)
    if not isinstance(content, str) and not (content is None and message.get("tool_calls")):
        raise DataError(f"{where}: {content_key} {content!r} is no text; write it as text, or leave the row out")
    rest = {key: value for key, value in message.items() if key not in (role_key, content_key)}
    if message.get("tool_calls"):
        rest["tool_calls"] = [_call(call, where) for call in message["tool_calls"]]
    return {"role": role, "content": content, **rest}


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
    """The conversation, if it can be trained on; DataError where it begins with the assistant or has no answer."""
    spoken = [message for message in messages if message["role"] != "system"]
    if not spoken or spoken[0]["role"] == "assistant":
        raise DataError(f"{where} message 1: a conversation must not begin with the assistant")
    if not any(message["role"] == "assistant" for message in spoken):
        raise DataError(f"{where}: no assistant message, so there is nothing to train")
    for i, message in enumerate(messages, 1):
        if message["role"] == "assistant" and not message["content"] and not message.get("tool_calls"):
            raise DataError(f"{where} message {i}: the assistant's content is empty")
    return messages


def from_json(text: str, where: str) -> Any:
    """JSON text in a column. Raises DataError."""
    return parse_json(text, where)
