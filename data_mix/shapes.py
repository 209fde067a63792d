"""The shapes rows come in, brought to one: `messages`, `prompt` + `completion`, or `text`.

Recognised: OpenAI messages, ShareGPT (`conversations` of from/value), Alpaca (instruction, input, output), prompt +
completion as text or messages.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from data_mix import DataError
from data_mix.config import SourceSpec

ROLES = {
    "system": "system", "developer": "system", "user": "user", "human": "user", "assistant": "assistant",
    "gpt": "assistant", "bot": "assistant",
    "model": "assistant", "chatgpt": "assistant", "tool": "tool", "observation": "tool",
    "function": "tool", "function_call": "assistant",
}  # fmt: skip


def normalise(row: Mapping[str, Any], spec: SourceSpec, where: str) -> dict[str, Any]:
    """One row in TRL's columns, with `tools` and `chat_template_kwargs` where there are any.

    Raises DataError naming row, message and remedy: unknown shape or role, no completion, a conversation that begins
    with the assistant.
    """
    row = _renamed(row, spec, where)
    extra = {key: row[key] for key in ("chat_template_kwargs",) if row.get(key)}
    tools = row.get(spec.tools or "tools")
    if tools:
        extra["tools"] = _json(tools, where) if isinstance(tools, str) else tools
    if "messages" in row or "conversations" in row:
        messages = _messages(row["messages"] if "messages" in row else row["conversations"], spec, where)
        return {"messages": _checked(_with_system(messages, row.get("system") or spec.system), where), **extra}
    if "prompt" in row and "completion" in row:
        return {**_pair(row["prompt"], row["completion"], spec, where), **extra}
    if "instruction" in row and "output" in row:
        words = [text for text in (row["instruction"], row.get("input")) if text]
        return {
            **_pair(
                [{"role": "user", "content": "\n\n".join(words)}],
                [{"role": "assistant", "content": row["output"]}],
                spec,
                where,
            ),
            **extra,
        }
    if "text" in row:
        if not isinstance(row["text"], str) or not row["text"].strip():
            raise DataError(f"{where}: text is empty")
        return {"text": row["text"]}
    raise DataError(
        f"{where}: columns {sorted(row)} are no shape that is known (messages; conversations; prompt + completion; "
        "instruction + output; text); "
        "name yours in the recipe, as columns: {prompt: question, completion: answer}"
    )


def shape_of(row: Mapping[str, Any]) -> str:
    """`messages`, `prompt+completion` or `text`, of a row in TRL's columns."""
    return "messages" if "messages" in row else "text" if "text" in row else "prompt+completion"


def _renamed(row: Mapping[str, Any], spec: SourceSpec, where: str) -> dict[str, Any]:
    """The row with `columns` applied: our name -> the file's."""
    if absent := [theirs for theirs in spec.columns.values() if theirs not in row]:
        raise DataError(f"{where}: columns names {absent}, the row has {sorted(row)}")
    taken = set(spec.columns.values())
    return {
        **{key: value for key, value in row.items() if key not in taken},
        **{ours: row[theirs] for ours, theirs in spec.columns.items()},
    }


def _messages(value: Any, spec: SourceSpec, where: str) -> list[dict[str, Any]]:
    value = _json(value, where) if isinstance(value, str) else value
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
    rest = {key: value for key, value in message.items() if key not in (role_key, content_key)}
    return {"role": role, "content": message.get(content_key), **rest}


def _with_system(messages: list[dict[str, Any]], system: str | None) -> list[dict[str, Any]]:
    return (
        [{"role": "system", "content": system}, *messages] if system and messages[0]["role"] != "system" else messages
    )


def _checked(messages: list[dict[str, Any]], where: str) -> list[dict[str, Any]]:
    spoken = [message for message in messages if message["role"] != "system"]
    if not spoken or spoken[0]["role"] == "assistant":
        raise DataError(f"{where} message 1: a conversation must not begin with the assistant")
    if not any(message["role"] == "assistant" for message in spoken):
        raise DataError(f"{where}: no assistant message, so there is nothing to train")
    for i, message in enumerate(messages, 1):
        if message["role"] == "assistant" and not message["content"] and not message.get("tool_calls"):
            raise DataError(f"{where} message {i}: the assistant's content is empty")
    return messages


def _pair(prompt: Any, completion: Any, spec: SourceSpec, where: str) -> dict[str, Any]:
    if not completion or (isinstance(completion, str) and not completion.strip()):
        raise DataError(f"{where}: no completion; leave the row out or fill it")
    if isinstance(prompt, str) and isinstance(completion, str):
        return {"prompt": prompt, "completion": completion}
    context = (
        [{"role": "user", "content": prompt}] if isinstance(prompt, str) else _messages(prompt, spec, f"{where} prompt")
    )
    answer = (
        [{"role": "assistant", "content": completion}]
        if isinstance(completion, str)
        else _messages(completion, spec, f"{where} completion")
    )
    whole = _checked([*_with_system(context, spec.system), *answer], where)
    return {"prompt": whole[: -len(answer)], "completion": answer}


def _json(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(f"{where}: not JSON: {error.msg} in {text[:60]!r}") from error
