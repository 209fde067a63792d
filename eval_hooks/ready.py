"""From a task entry to what is asked: items loaded, rendered for a model, tokenised, and a hash over all of it."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from eval_hooks.bounded import Call
from eval_hooks.catalog import Judge, row_of
from eval_hooks.config import Role, TaskSpec
from eval_hooks.copies import copies
from eval_hooks.encode import Encoded, encode
from eval_hooks.errors import EvalError
from eval_hooks.generate import render
from eval_hooks.harness.ask import Asked, ask
from eval_hooks.harness.load import Harness
from eval_hooks.items import ChoiceSet, GenerateItem, RecallItem
from eval_hooks.judging import task_call
from eval_hooks.recall import EncodedRecall, encode_recall
from eval_hooks.validation import validation_spec, with_validation


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
    prompt_hash: str = ""
    """Over every prompt and option as the model reads them; tables with different hashes are never paired."""

    @property
    def name(self) -> str:
        """How tables, keys and pictures call it."""
        return self.spec.called

    @property
    def generates(self) -> bool:
        """Whether it has the model write."""
        if self.harness:
            return bool(self.harness.written)
        row = row_of(self.spec.task)
        return row.kind == "generate" or (row.kind == "recall" and row.writes)

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


def load_items(spec: TaskSpec, rows: Sequence[Mapping[str, Any]] | None = None) -> Items:
    """What a task entry asks. `rows` are those of the task's data source, where it has one.

    Raises EvalError for an unknown task, missing rows, and all that loading refuses.
    """
    task = row_of(spec.task)
    if task.load is not None:
        return with_validation(spec, task.load)
    if spec.temperature_split:
        raise EvalError(f"task {spec.task!r}: temperature_split: it scores no options, so nothing is to be fitted")
    if not rows:
        raise EvalError(f"task {spec.task!r}: needs the rows of a data source ({task.source}, say), and got none")
    named = [(row, str(row.get("item_id") or f"{spec.split}/{i}")) for i, row in enumerate(rows)][: spec.limit]
    if task.kind == "recall":
        return tuple(_recall_item(row, item_id) for row, item_id in named)
    return tuple(_generate_item(row, item_id) for row, item_id in named)


def ready(spec: TaskSpec, role: Role, reader: Reader, items: Items, judge: Judge | Call | None = None) -> Ready:
    """Render a task's items for a model. Raises EvalError for what rendering refuses."""
    if isinstance(items, ChoiceSet):
        encoded = tuple(encode(items, spec, reader.tokenizer, reader.max_length, dict(reader.template_kwargs)))
        texts = [item.prompt for item in encoded]
        hashed = digest([[item.shared, item.branches, item.scored] for item in encoded])
        apart = ready(validation_spec(spec), role, reader, items.validation) if items.validation else None
        again = copies([one.item_id for one in items.items], [(i.question, i.choices, i.gold) for i in items.items])
        return Ready(
            spec=spec, role=role, choices=encoded, copies=again, first_prompt=texts[0], prompt_hash=hashed,
            validation=apart,
        )  # fmt: skip
    if isinstance(items, Harness):
        asked = ask(items, spec, reader)
        hashed = digest([[one.task_name, one.doc_id, *one.args] for one in asked.requests])
        first = str(asked.requests[0].args[0])
        return Ready(spec=spec, role=role, harness=asked, first_prompt=first, prompt_hash=hashed)
    texts = [render(item, reader.tokenizer, dict(reader.template_kwargs)) for item in items]
    golds = [item.gold if isinstance(item, GenerateItem) else item.answer for item in items]
    hashed = digest([texts, golds, spec.max_new_tokens])
    recalls = tuple(
        encode_recall(item, text, reader.tokenizer)
        for item, text in zip(items, texts, strict=True)
        if isinstance(item, RecallItem)
    )
    prompts = tuple(item if isinstance(item, GenerateItem) else as_prompt(item) for item in items)
    return Ready(
        spec=spec,
        role=role,
        prompts=prompts,
        recalls=recalls,
        copies=copies([item.item_id for item in items], list(zip(texts, golds, strict=True))),
        judge=judge or (task_call(spec.task) if row_of(spec.task).judge else None),
        first_prompt=texts[0],
        prompt_hash=hashed,
    )


def _generate_item(row: Mapping[str, Any], item_id: str) -> GenerateItem:
    answer = row["answer"] if "answer" in row else _text(row["completion"])
    gold = " or ".join(map(str, answer)) if isinstance(answer, list | tuple) else str(answer)
    return GenerateItem(item_id=item_id, prompt=row["prompt"], gold=gold, row=row)


def _recall_item(row: Mapping[str, Any], item_id: str) -> RecallItem:
    """A row {prompt, completion}, or a pair; `value`, `answer_again`, `wrong_answers` where it has them.

    Without a `value` the whole answer is it.
    """
    answer = _text(row["chosen"] if "chosen" in row else row["completion"])
    return RecallItem(
        item_id=item_id,
        prompt=row["prompt"],
        answer=answer,
        value=row.get("value") or answer,
        again=row.get("answer_again") or "",
        wrong=(_text(row["rejected"]),) if "rejected" in row else tuple(row.get("wrong_answers") or ()),
    )


def as_prompt(item: RecallItem) -> GenerateItem:
    """The item as a prompt to answer freely."""
    return GenerateItem(item_id=item.item_id, prompt=item.prompt, gold=item.answer)


def _text(completion: Any) -> str:
    return completion if isinstance(completion, str) else completion[-1]["content"]


def digest(value: Any) -> str:
    """Of anything JSON can hold, 16 hex digits."""
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]
