"""From a row to token ids and what each token belongs to."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from data_mix import DataError
from data_mix.spans import Message, Part, Rendered, conversation
from data_mix.thinking import check_kept, thinking_of, without_thinking

ANSWERS = (Part.COMPLETION,)
"""Instruction tuning: answers are trained, the rest is context."""
WORDS = (Part.INSTRUCTION, Part.COMPLETION)
"""Instruction modelling: all that somebody wrote, never the template."""
EVERYTHING = tuple(Part)


@dataclass(frozen=True, kw_only=True)
class Rendering:
    """Everything that decides how rows become tokens; part of the cache's key."""

    max_length: int | None = None
    """Longest row in tokens; whole answers that do not fit are left out."""
    messages: tuple[Part, ...] = ANSWERS
    """What is trained of rows with `messages`."""
    completions: tuple[Part, ...] = ANSWERS
    """What is trained of rows with `prompt` and `completion`."""
    template_kwargs: Mapping[str, Any] = field(default_factory=dict)
    thinking: Literal["keep", "last", "drop"] | None = None
    """As `DataConfig.thinking`."""
    turns: Literal["all", "last"] = "all"
    """As `DataConfig.turns`."""
    keep_parts: bool = False
    """Give the rows a `parts` column, for a method that weighs instruction and answer apart."""


@dataclass(frozen=True, kw_only=True)
class TokenRow:
    """One training row. All three lists have the row's length."""

    input_ids: list[int]
    labels: list[int]
    """-100 where the token is context only."""
    parts: list[Part]

    @property
    def tokens(self) -> int:
        """Tokens that the model reads."""
        return len(self.input_ids)

    @property
    def supervised(self) -> int:
        """Tokens with a label."""
        return sum(label != -100 for label in self.labels)

    def columns(self, how: Rendering) -> dict[str, Any]:
        """The data set's columns: input_ids, labels, and parts where they are kept."""
        parts = {"parts": [int(part) for part in self.parts]} if how.keep_parts else {}
        return {"input_ids": self.input_ids, "labels": self.labels, **parts}


@dataclass(frozen=True, kw_only=True)
class Dropped:
    """A row that is not trained on, and why."""

    reason: str


def tokenise(row: Mapping[str, Any], tokenizer: Any, how: Rendering) -> list[TokenRow | Dropped]:
    """The training rows of one row in TRL's columns (text; prompt+completion; messages), or why there is none.

    Raises DataError where the chat template is missing or an answer cannot be found in it.
    """
    trained, texts = rendered(row, tokenizer, how)
    return [_encode(one, tokenizer, trained, how.max_length) for one in texts]


def rendered(row: Mapping[str, Any], tokenizer: Any, how: Rendering) -> tuple[tuple[Part, ...], Sequence[Rendered]]:
    """(what is trained of it, its training rows as text). Raises DataError as `tokenise` does."""
    if "text" in row:
        text = _ended(row["text"], tokenizer)
        return EVERYTHING, [Rendered(text=text, spans=((0, len(text), Part.COMPLETION),), plain=True)]
    if "messages" in row:
        return how.messages, _chat(row, row["messages"], tokenizer, how.messages, how)
    if isinstance(row["prompt"], str):
        return how.completions, [_plain_pair(row["prompt"], row["completion"], tokenizer)]
    context = [{**message, "train": False} for message in row["prompt"]]
    return how.completions, _chat(row, [*context, *row["completion"]], tokenizer, how.completions, how)


def _ended(text: str, tokenizer: Any) -> str:
    """Plain text with the end token behind it, once."""
    end = tokenizer.eos_token or ""
    return text if text.endswith(end) else text + end


def _plain_pair(prompt: str, completion: str, tokenizer: Any) -> Rendered:
    """Prompt and completion as plain text, the end token behind it."""
    text = prompt + _ended(completion, tokenizer)
    spans = ((0, len(prompt), Part.INSTRUCTION), (len(prompt), len(text), Part.COMPLETION))
    return Rendered(text=text, spans=spans, plain=True)


def _chat(
    row: Mapping[str, Any], messages: Sequence[Message], tokenizer: Any, trained: tuple[Part, ...], how: Rendering
) -> list[Rendered]:
    if not tokenizer.chat_template:
        raise DataError(
            "the row is a conversation and the tokenizer has no chat template; set model.chat_template, or use an "
            "instruct model"
        )
    answers = [
        i for i, message in enumerate(messages) if message["role"] == "assistant" and message.get("train") is not False
    ]
    answers = answers[-1:] if how.turns == "last" else answers
    if not answers:
        return []
    clean: list[Message] = [{key: value for key, value in message.items() if key != "train"} for message in messages]
    settings = {**how.template_kwargs, **(row.get("chat_template_kwargs") or {})}
    template = ChatTemplate(tokenizer, settings, row.get("tools"))
    instructions = trained == WORDS
    if how.thinking == "drop":
        clean = list(map(without_thinking, clean))
    elif how.thinking == "keep":
        check_kept(clean, template.text(clean))
    elif how.thinking == "last" and any(map(thinking_of, clean[: answers[-1]])):
        histories = [[*map(without_thinking, clean[:i]), clean[i]] for i in answers]
        return [one for turns in histories for one in conversation(turns, template, [len(turns) - 1], instructions)]
    return conversation(clean, template, answers, instructions)


@dataclass(frozen=True)
class ChatTemplate:
    """The tokenizer's chat template with a row's tools and settings; its errors become DataErrors."""

    tokenizer: Any
    kwargs: Mapping[str, Any]
    tools: Any

    def text(self, messages: Sequence[Message], generation_prompt: bool = False) -> str:
        """The conversation as text."""
        return self._render(messages, add_generation_prompt=generation_prompt)[0]

    def marked(self, messages: Sequence[Message]) -> list[tuple[int, int]] | None:
        """Character spans between `{% generation %}` markers, or None where the template has none."""
        if not re.search(r"{%-?\s*generation\b", self._source()):
            return None
        return self._render(messages, return_assistant_tokens_mask=True)[1]

    def _source(self) -> str:
        return self.tokenizer.get_chat_template(tools=self.tools)

    def _render(self, messages: Sequence[Message], **how: Any) -> tuple[str, list[tuple[int, int]]]:
        from jinja2 import TemplateError
        from transformers.utils.chat_template_utils import render_jinja_template

        settings = {**self.tokenizer.special_tokens_map, **self.kwargs, **how}
        try:
            texts, spans = render_jinja_template(
                [list(messages)], tools=self.tools, chat_template=self._source(), **settings
            )
        except (TemplateError, TypeError, ValueError, ArithmeticError, LookupError, AttributeError) as error:
            # a template is a program: what it does not expect in a message may raise anything
            raise DataError(
                f"the chat template refuses the conversation up to message {len(messages)} ({messages[-1]['role']}): "
                f"{error}"
            ) from error
        return texts[0], spans[0] if spans else []


def _encode(one: Rendered, tokenizer: Any, trained: tuple[Part, ...], max_length: int | None) -> TokenRow | Dropped:
    """Tokens of a rendered row with their labels; cut to the answers that fit whole."""
    encoded = encoding(one, tokenizer)
    ids = list(encoded["input_ids"])
    parts = _parts(encoded["offset_mapping"], one.spans)
    if max_length is not None and len(ids) > max_length:
        kept = _whole_answers(parts, max_length)
        if not kept:
            return Dropped(reason=f"no answer fits whole into max_length {max_length}")
        ids, parts = ids[:kept], parts[:kept]
    labels = [token if part in trained else -100 for token, part in zip(ids, parts, strict=True)]
    if not any(label != -100 for label in labels[1:]):
        return Dropped(reason="no trained token")
    return TokenRow(input_ids=ids, labels=labels, parts=parts)


def encoding(one: Rendered, tokenizer: Any) -> dict[str, list[Any]]:
    """Its input_ids with their offset_mapping.

    The tokenizer puts its own tokens before plain text that does not begin with them, never before what a template
    wrote; none behind, where some put an end: the text has its end, and a prompt goes on.
    """
    begun = bool(tokenizer.bos_token) and one.text.startswith(tokenizer.bos_token)
    made = tokenizer(
        one.text,
        add_special_tokens=one.plain and not begun,
        return_offsets_mapping=True,
        return_special_tokens_mask=True,
    )
    n = len(made["input_ids"])
    while n > 1 and made["special_tokens_mask"][n - 1]:  # 1: added by the tokenizer, not written in the text
        n -= 1
    return {name: list(made[name][:n]) for name in ("input_ids", "offset_mapping")}


def _parts(offsets: Sequence[tuple[int, int]], spans: Sequence[tuple[int, int, Part]]) -> list[Part]:
    """What each token belongs to: the span it overlaps, an answer before anything else, else the template.

    Some tokenizers trim white space from offsets, so a token is taken to begin where the one before ended.
    """
    parts, behind = [], 0
    for start, end in offsets:
        start, end = min(start, behind), max(end, behind)
        behind = end
        parts.append(max((part for a, b, part in spans if start < b and a < end), default=Part.TEMPLATE))
    return parts


def _whole_answers(parts: Sequence[Part], max_length: int) -> int:
    """Length of the longest beginning, at most max_length, that ends where an answer ends.

    Plain text is cut anywhere.
    """
    if all(part == Part.COMPLETION for part in parts):
        return max_length
    ends = [
        i
        for i in range(1, max_length + 1)
        if parts[i - 1] == Part.COMPLETION and (i == len(parts) or parts[i] != Part.COMPLETION)
    ]
    return ends[-1] if ends else 0
