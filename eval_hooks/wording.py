"""What items ask, as plain text: for finding them elsewhere."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eval_hooks.harness.load import Harness
from eval_hooks.items import ChoiceSet
from eval_hooks.ready import Items


@dataclass(frozen=True, kw_only=True)
class Wording:
    """An item in words."""

    item_id: str
    question: str
    answer: str
    """Empty where the item does not say it in words."""


def wordings(items: Items) -> list[Wording]:
    """The scored items of a task, in order; solved examples are none."""
    if isinstance(items, ChoiceSet):
        return [
            Wording(item_id=item.item_id, question=item.question, answer=item.choices[item.gold])
            for item in items.items
        ]
    if isinstance(items, Harness):
        return [
            Wording(item_id=f"{task.task_name}/{number}", question=_words(task.doc_to_text(doc)), answer="")
            for task, count in zip(items.tasks, items.counts, strict=True)
            for number, doc in zip(range(count), task.eval_docs, strict=False)
        ]
    return [
        Wording(item_id=item.item_id, question=_asked(item.prompt), answer=getattr(item, "gold", ""))
        for item in items
    ]  # fmt: skip


def _words(text: Any) -> str:
    """lm-eval gives an index where the options stand in the question's place."""
    return text if isinstance(text, str) else ""


def _asked(prompt: str | Sequence[Mapping[str, Any]]) -> str:
    """The last thing a person says."""
    if isinstance(prompt, str):
        return prompt
    return next((message["content"] for message in reversed(prompt) if message["role"] == "user"), "")
