"""A task entry ready to be asked again and again, and how the model that is asked reads."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from eval_hooks.bounded import Call
from eval_hooks.catalog import Judge, row_of
from eval_hooks.config import Role, TaskSpec
from eval_hooks.encode import Encoded
from eval_hooks.errors import EvalError
from eval_hooks.harness.ask import Asked
from eval_hooks.harness.load import Harness
from eval_hooks.items import ChoiceSet, GenerateItem, RecallItem
from eval_hooks.json_text import json_text
from eval_hooks.recall import EncodedRecall
from eval_hooks.results.prompts import Prompts


@dataclass(frozen=True, kw_only=True)
class Ready:
    """A task entry with its items rendered: all that is needed to score it again and again."""

    spec: TaskSpec
    role: Role
    choices: tuple[Encoded, ...] = ()
    prompts: tuple[GenerateItem, ...] = ()
    recalls: tuple[EncodedRecall, ...] = ()
    validation: "Ready | None" = None
    """What a temperature is fitted on, where one is asked for."""
    harness: Asked | None = None
    judge: Judge | Call | None = None
    copies: Mapping[str, str] = field(default_factory=dict)
    """Items that ask what one before them asks -> that one; lm-eval's are found when they are measured."""
    first_prompt: str = ""
    texts: tuple[str, ...] = ()
    """The prompts of `prompts` as the model reads them."""
    prompt_hash: str = ""
    """Over every prompt and option as the model reads them; tables with different hashes are never paired."""

    @property
    def name(self) -> str:
        """How tables, keys and pictures call it."""
        return self.spec.called

    @property
    def generates(self) -> bool:
        """Whether it has the model write."""
        return bool(self.harness.written) if self.harness else bool(self.prompts) and row_of(self.spec.task).writes

    def asked(self, where: str) -> Prompts:
        """Its prompts, to be set against those of another evaluation; lm-eval's by the first one."""
        return Prompts(
            where=where,
            settings={"variant": self.spec.variant, "shots": self.spec.n_shots} if self.choices else {},
            first=self.first_prompt,
            ids=(*(one.item.item_id for one in self.choices), *(item.item_id for item in self.prompts)),
            texts={item.item_id: text for item, text in zip(self.prompts, self.texts, strict=False)},
            tokens={one.item.item_id: one.context_tokens for one in self.choices},
            golds={item.item_id: item.gold for item in self.prompts},
        )

    def __len__(self) -> int:
        return len(self.choices) + len(self.prompts) + (self.harness.documents if self.harness else 0)


@dataclass(frozen=True, kw_only=True)
class Reader:
    """How a model reads: its tokenizer, its template's settings, its longest input."""

    tokenizer: Any
    template_kwargs: Mapping[str, Any] = field(default_factory=dict)
    max_length: int = 2048


def reader_of(model: Any, tokenizer: Any, template_kwargs: Mapping[str, Any]) -> Reader:
    """The reader of a loaded model; one whose configuration names no longest input gets 2048 tokens.

    Raises EvalError for a model that reads a text with an encoder and says another one: it has no continuations.
    """
    if getattr(model.config, "is_encoder_decoder", False):
        raise EvalError(
            f"model {model.config.model_type}: an encoder-decoder scores no continuation of a prompt; measure a "
            "decoder-only model (AutoModelForCausalLM)"
        )
    limit = getattr(model.config.get_text_config(), "max_position_embeddings", None) or 2048
    return Reader(tokenizer=tokenizer, template_kwargs=template_kwargs, max_length=limit)


Items = ChoiceSet | Harness | tuple[GenerateItem, ...] | tuple[RecallItem, ...]
Prepare = Callable[[TaskSpec, Role, Reader, Any, Judge | Call | None], Ready]
"""(entry, role, reader, items, what judges free answers) -> the task, rendered and tokenised."""


def text_of(completion: Any) -> str:
    """The text of a completion: itself, or its last message's."""
    return completion if isinstance(completion, str) else completion[-1]["content"]


def digest(value: Any) -> str:
    """Of anything JSON can hold, 16 hex digits."""
    return hashlib.sha256(json_text(value).encode()).hexdigest()[:16]


def rows_of(rows: Sequence[Mapping[str, Any]], spec: TaskSpec) -> list[tuple[Mapping[str, Any], str]]:
    """Rows of a data source with their items' ids, as many as the entry asks."""
    return [(row, str(row.get("item_id") or f"{spec.split}/{i}")) for i, row in enumerate(rows)][: spec.limit]
