"""An item that flipped, as it is read: the ends of long texts."""

from collections.abc import Mapping
from typing import Any

TAIL = 300
"""Characters shown of a long prompt or answer: a prompt's last ones, where the question is."""


def written_flip(before: Mapping[str, Any], after: Mapping[str, Any], was: str, now: str) -> dict[str, Any]:
    """Of rows with a prompt and a gold text: what was answered before and now."""
    return {
        "subject": None,
        "question": tail(after["prompt"]),
        "gold": tail(after["gold"]),
        "before": tail(was),
        "after": tail(now),
        "conf_before": None,
        "conf_after": None,
    }


def tail(text: str, length: int = TAIL) -> str:
    """The end of a text, with a mark where the beginning is left out."""
    return text if len(text) <= length else "… " + text[-length:]
