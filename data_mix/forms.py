"""What a stage trains on: which shapes of rows, and the columns they become."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from data_mix import DataError
from data_mix.json_text import json_text
from data_mix.keys import file_hash
from data_mix.render import ChatTemplate, Dropped, Rendering, TokenRow, encoding, tokenise
from data_mix.spans import Rendered
from data_mix.thinking import without_thinking


class Encoded(Protocol):
    """A row ready for a trainer."""

    @property
    def tokens(self) -> int:
        """Tokens that the model reads."""

    @property
    def supervised(self) -> int:
        """Tokens among them that the loss looks at."""

    def columns(self, how: Rendering) -> dict[str, Any]:
        """The data set's columns."""


Encode = Callable[[Mapping[str, Any], Any, Rendering], list[Any]]
Labelled = tuple[list[int], list[int]]
"""(input_ids, labels) of one text; -100 where a token is context only."""


def one_text(columns: Mapping[str, Any]) -> list[Labelled]:
    """A row of tokens is one text."""
    return [(columns["input_ids"], columns["labels"])]


def two_answers(columns: Mapping[str, Any]) -> list[Labelled]:
    """A pair is its prompt with each of the answers."""
    prompt = columns["prompt_ids"]
    answers = (columns["chosen_ids"], columns["rejected_ids"])
    return [([*prompt, *answer], [-100] * len(prompt) + list(answer)) for answer in answers]


def no_text(columns: Mapping[str, Any]) -> list[Labelled]:
    """The answers to a prompt are the model's own, and not there yet."""
    return []


def side_of(columns: Mapping[str, Any]) -> str:
    """Rows to forget are one kind, rows to retain another."""
    return str(columns["side"])


def one_kind(columns: Mapping[str, Any]) -> str:
    """All rows are alike."""
    return ""


@dataclass(frozen=True, kw_only=True)
class Form:
    """A kind of training row."""

    shapes: tuple[str, ...]
    """Shapes (`shapes.shape_of`) of the rows it is made from."""
    encode: Encode
    """(row, tokenizer, rendering) -> encoded rows, or Dropped with the reason. Raises DataError."""
    held_out: Encode
    """The same for a row of `data.validation`."""
    labelled: Callable[[Mapping[str, Any]], list[Labelled]] = one_text
    """A row's columns -> the texts in it with their labels; none where the model writes what is trained."""
    kind: Callable[[Mapping[str, Any]], str] = one_kind
    """A row's columns -> its kind; a batch has rows of every kind."""
    unusable: Callable[[Sequence[Mapping[str, Any]]], Mapping[int, str]] | None = None
    """Rows -> those that cannot be trained on, by their index, and why; for what is looked at many rows at a time."""
    columns: tuple[str, ...] = ()
    """Columns of a row that are kept beside (`extras.py`)."""

    def signature(self) -> list[Any]:
        """What decides its rows, for the cache's key: shapes, columns, and the file that encodes them."""
        encode = inspect.unwrap(self.encode)
        file = Path(inspect.getfile(encode))
        return [self.shapes, self.columns, encode.__qualname__, file_hash(file)]


@dataclass(frozen=True, kw_only=True)
class PairRow:
    """A prompt and two answers to it, in tokens."""

    prompt_ids: list[int]
    chosen_ids: list[int]
    rejected_ids: list[int]

    @property
    def tokens(self) -> int:
        """Tokens that the model reads: the prompt twice."""
        return 2 * len(self.prompt_ids) + self.supervised

    @property
    def supervised(self) -> int:
        """Tokens of both answers."""
        return len(self.chosen_ids) + len(self.rejected_ids)

    def columns(self, how: Rendering) -> dict[str, Any]:
        """trl.DPOTrainer's own columns."""
        return {"prompt_ids": self.prompt_ids, "chosen_ids": self.chosen_ids, "rejected_ids": self.rejected_ids}


@dataclass(frozen=True, kw_only=True)
class PromptRow:
    """A prompt, and how answers to it are judged; `chat_template_kwargs` are the recipe's with the row's own."""

    row: Mapping[str, Any]
    tokens: int
    supervised: int = 0

    def columns(self, how: Rendering) -> dict[str, Any]:
        """The prompt as it is, and the judged row as it came (JSON: rows of several sources differ in keys)."""
        return {"prompt": self.row["prompt"], "row": json_text(dict(self.row), ensure_ascii=False)}


@dataclass(frozen=True, kw_only=True)
class SidedRow:
    """A row to forget, or to retain."""

    side: str
    row: TokenRow

    @property
    def tokens(self) -> int:
        """Tokens that the model reads."""
        return self.row.tokens

    @property
    def supervised(self) -> int:
        """Tokens of the answer."""
        return self.row.supervised

    def columns(self, how: Rendering) -> dict[str, Any]:
        """input_ids, labels and the side."""
        return {**self.row.columns(how), "side": self.side}


def encode_pair(row: Mapping[str, Any], tokenizer: Any, how: Rendering) -> list[PairRow | Dropped]:
    """One pair. Raises DataError where the two answers are equal, or do not continue the same tokens, at least one."""
    if not isinstance(row["chosen"], str) and max(len(row["chosen"]), len(row["rejected"])) > 1:
        return [Dropped(reason="chosen and rejected part before their last turn")]
    shared = {key: value for key, value in row.items() if key not in ("chosen", "rejected")}
    sides = []
    for side in ("chosen", "rejected"):
        made = tokenise({**shared, "completion": row[side]}, tokenizer, how)
        if len(made) != 1:
            raise DataError(f"{side} has {len(made)} assistant turns after the prompt; one is due")
        if isinstance(made[0], Dropped):
            return [made[0]]
        sides.append(_split(made[0]))
    (prompt, chosen), (other, rejected) = sides
    if prompt != other:
        raise DataError("the prompt's tokens differ between chosen and rejected: the chat template rewrites history")
    if not prompt:
        raise DataError(
            "the prompt has no token of its own before the answers: its end and their beginning are one token; end the "
            "prompt with a line break, or give it as messages"
        )
    if chosen == rejected:
        raise DataError("chosen and rejected are the same tokens, so there is nothing to prefer; leave the row out")
    return [PairRow(prompt_ids=prompt, chosen_ids=chosen, rejected_ids=rejected)]


def _split(row: TokenRow) -> tuple[list[int], list[int]]:
    """Tokens before the answer, tokens of the answer; the template's tokens after it are left out."""
    trained = [i for i, label in enumerate(row.labels) if label != -100]
    return row.input_ids[: trained[0]], row.input_ids[trained[0] : trained[-1] + 1]


def encode_prompt(row: Mapping[str, Any], tokenizer: Any, how: Rendering) -> list[PromptRow | Dropped]:
    """One prompt, measured in tokens. Raises DataError for a prompt the model's template cannot render."""
    if how.thinking in ("last", "drop") and not isinstance(row["prompt"], str):
        row = {**row, "prompt": [dict(without_thinking(message)) for message in row["prompt"]]}
    row = {**row, "chat_template_kwargs": {**how.template_kwargs, **(row.get("chat_template_kwargs") or {})}}
    ids = prompt_ids(row, tokenizer)
    if how.max_length is not None and len(ids) > how.max_length:
        return [Dropped(reason=f"the prompt is longer than max_length {how.max_length}")]
    return [PromptRow(row=row, tokens=len(ids))]


def prompt_ids(row: Mapping[str, Any], tokenizer: Any) -> list[int]:
    """The tokens that an answer follows: the prompt with the row's `tools`, by its `chat_template_kwargs`.

    Raises DataError for a prompt the model's template cannot render.
    """
    if isinstance(row["prompt"], str):
        return encoding(Rendered(text=row["prompt"], spans=(), plain=True), tokenizer)["input_ids"]
    if not tokenizer.chat_template:
        raise DataError("the prompt is a conversation and the tokenizer has no chat template; set model.chat_template")
    template = ChatTemplate(tokenizer, row.get("chat_template_kwargs") or {}, row.get("tools"))
    return list(tokenizer(template.text(row["prompt"], True), add_special_tokens=False)["input_ids"])


def encode_sided(row: Mapping[str, Any], tokenizer: Any, how: Rendering) -> list[SidedRow | Dropped]:
    """A row with its side."""
    made = tokenise(row, tokenizer, how)
    return [one if isinstance(one, Dropped) else SidedRow(side=row["side"], row=one) for one in made]


def no_held_out(row: Mapping[str, Any], tokenizer: Any, how: Rendering) -> list[Any]:
    """Prompts without an answer have no loss."""
    raise DataError("this stage trains on its own answers, so held-out rows have no loss; name them in eval.target")


FORMS: dict[str, Form] = {
    "text": Form(shapes=("text",), encode=tokenise, held_out=tokenise),
    "conversations": Form(
        shapes=("messages", "prompt+completion", "text", "prompt+completion+side"), encode=tokenise, held_out=tokenise
    ),
    "pairs": Form(shapes=("prompt+chosen+rejected",), encode=encode_pair, held_out=encode_pair, labelled=two_answers),
    "prompts": Form(shapes=("prompt+verifier+answer",), encode=encode_prompt, held_out=no_held_out, labelled=no_text),
    "sides": Form(
        shapes=("prompt+completion+side",), encode=encode_sided, held_out=tokenise, kind=lambda columns: columns["side"]
    ),
}
