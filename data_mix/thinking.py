"""A reasoning model's thinking in a conversation: where it stands, and a turn without it."""

import re
from collections.abc import Sequence

from data_mix import DataError
from data_mix.spans import Message

KEYS = ("reasoning_content", "reasoning", "thinking")
"""Keys of a message that templates read thinking from."""
BLOCK = re.compile(r"\s*<think>(.*?)</think>\s*", re.DOTALL)
"""Thinking at the beginning of a content."""


def thinking_of(message: Message) -> str:
    """What an assistant turn thought; empty where it did not, and for other roles."""
    if message["role"] != "assistant":
        return ""
    found = BLOCK.match(message.get("content") or "")
    said = [str(message[key]) for key in KEYS if message.get(key)]
    return "".join([*said, *([found[1]] if found else [])]).strip()


def without_thinking(message: Message) -> Message:
    """The turn without its thinking."""
    if not thinking_of(message):
        return message
    rest = {key: value for key, value in message.items() if key not in KEYS}
    content = rest.get("content") or ""
    found = BLOCK.match(content)  # a search would take the square of a long row of spaces
    return {**rest, "content": content[found.end() :] if found else content}


def check_kept(messages: Sequence[Message], text: str) -> None:
    """Raise DataError where the rendered text lacks a turn's thinking, as templates of reasoning models do."""
    for number, message in enumerate(messages, 1):
        if thinking_of(message) not in text:
            raise DataError(
                f"message {number} (assistant): the chat template leaves its thinking out, so data.thinking: keep "
                "cannot be had; use data.thinking: last, or a model.chat_template that prints it"
            )
