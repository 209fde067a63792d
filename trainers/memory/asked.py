"""What evaluations ask of a model, counted in tokens: the items are loaded and rendered, no model is."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from trainers.recipe import Recipe

DECODING_TOKENS = 4096
"""Tokens that are written at once, prompts included (eval_hooks.generate)."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One evaluation."""

    read: int
    """Tokens that are read."""
    written: int
    """Forward passes that write one token for all rows of a batch."""


def asked(recipe: Recipe, tokenizer: Any, window: int) -> Asked:
    """Tokens of one whole evaluation; the validation sets are not among them. Raises what loading items raises."""
    from eval_hooks.ready import Reader, ready
    from trainers.evaluation import checkpoint_eval

    measure = checkpoint_eval(recipe, {})
    reader = Reader(tokenizer=tokenizer, template_kwargs=recipe.model.chat_template_kwargs, max_length=window)
    read = written = 0
    for (spec, role), items in zip(measure.entries, measure._items, strict=True):
        task = ready(spec, role, reader, items, measure.judges.get(spec.task))
        read += sum(_tokens(task, tokenizer))
        if task.generates:
            sizes = sum(len(tokenizer(item.prompt if isinstance(item.prompt, str) else str(item.prompt)).input_ids)
                        + spec.max_new_tokens for item in task.prompts)  # fmt: skip
            written += -(-sizes // DECODING_TOKENS) * spec.max_new_tokens
    return Asked(read=read, written=written)


def _tokens(task: Any, tokenizer: Any) -> Iterator[int]:
    """Of a choice: what its options share and the options; of anything written: its prompt. Shared stems run once."""
    for item in task.choices:
        yield len(item.shared) + sum(map(len, item.branches))
    for item in task.prompts:
        yield len(tokenizer(item.prompt if isinstance(item.prompt, str) else str(item.prompt)).input_ids)
    if task.validation:
        yield from _tokens(task.validation, tokenizer)
