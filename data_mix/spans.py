"""Which characters of a rendered conversation are an answer, which are somebody's words, and which are the template's.

Nothing is assumed about a template: it is asked by rendering.
- Answers: `{% generation %}` markers say it where the template has them. Else the conversation up to a turn,
  with the generation prompt, must be a prefix of the conversation with that turn: what lies between is what the model
  has to write, end of turn included (a `<think>` block that the template adds too). A turn that opens the conversation
  begins where its content does.
- Other messages: every content is replaced by a marker, and the template's own text read off between the markers; put
together again
  with the contents it must give the rendering, or the message is named and refused.
A template that rewrites history (reasoning models drop earlier thinking) fails the prefix test; then each answer
becomes a row of its own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Protocol

from data_mix import DataError

Message = Mapping[str, Any]


class Template(Protocol):
    """A chat template as this module asks it."""

    def text(self, messages: Sequence[Message], generation_prompt: bool = False) -> str:
        """The conversation as text."""

    def marked(self, messages: Sequence[Message]) -> list[tuple[int, int]] | None:
        """Spans of the answers by the template's own `{% generation %}` markers; None where it has none."""


class Part(IntEnum):
    """What a token belongs to."""

    TEMPLATE = 0
    INSTRUCTION = 1
    COMPLETION = 2


@dataclass(frozen=True, kw_only=True)
class Rendered:
    """One training row as text, with what its characters are; characters in no span are the template's."""

    text: str
    spans: tuple[tuple[int, int, Part], ...]
    plain: bool = False
    """Written by nobody's template, so that the tokenizer adds its own beginning."""


def conversation(
    messages: Sequence[Message], template: Template, answers: Sequence[int], instructions: bool
) -> list[Rendered]:
    """The training rows of a conversation: one, or one per trained assistant turn where the template rewrites history.

    `answers` are the indices of the trained turns. With `instructions` the contents of the other messages are marked
    too. Raises DataError naming the message whose place cannot be found.
    """
    text = template.text(messages)
    turns = [i for i, message in enumerate(messages) if message["role"] == "assistant"]
    marked = template.marked(messages)
    if marked is not None and len(marked) == len(turns):
        spans = [(*marked[turns.index(i)], Part.COMPLETION) for i in answers]
        return [Rendered(text=text, spans=_with_contents(messages, text, spans, template, instructions))]
    found = [_answer(messages, index, template) for index in answers]
    if all(span is not None and text.startswith(whole) for span, whole in found):
        spans = [(*span, Part.COMPLETION) for span, _ in found if span is not None]
        return [Rendered(text=text, spans=_with_contents(messages, text, spans, template, instructions))]
    return [_last_turn(messages[: index + 1], template, instructions) for index in answers]


def _answer(messages: Sequence[Message], index: int, template: Template) -> tuple[tuple[int, int] | None, str]:
    """The span of turn `index` in the conversation that ends with it, and that conversation's text."""
    whole = template.text(messages[: index + 1])
    asked = any(message["role"] != "system" for message in messages[:index])
    before = template.text(messages[:index], True) if asked else _opening(messages, index, template)
    if before is None or not whole.startswith(before):
        return None, whole
    return (len(before), len(before) + len(whole[len(before) :].rstrip())), whole


def _opening(messages: Sequence[Message], index: int, template: Template) -> str | None:
    """What stands before a turn that opens the conversation: few templates ask for an answer where nothing was said.

    So it is what is printed before a marker in the content's place.
    """
    marker = f"\x02{index}\x03"
    before, found, _ = template.text([*messages[:index], {**messages[index], "content": marker}]).partition(marker)
    return before if found else None


def _last_turn(messages: Sequence[Message], template: Template, instructions: bool) -> Rendered:
    """A row that ends with the one turn it trains."""
    span, text = _answer(messages, len(messages) - 1, template)
    if span is None or span[0] == span[1]:
        raise DataError(
            f"message {len(messages)} (assistant): the chat template does not render it as a continuation of the "
            "messages before it, "
            "so its tokens cannot be found; give model.chat_template a template with {% generation %} markers, or "
            "prompt+completion rows"
        )
    return Rendered(text=text, spans=_with_contents(messages, text, [(*span, Part.COMPLETION)], template, instructions))


def _with_contents(
    messages: Sequence[Message], text: str, answers: list[tuple[int, int, Part]], template: Template, instructions: bool
) -> tuple[tuple[int, int, Part], ...]:
    if not instructions:
        return tuple(answers)
    others = [(*span, Part.INSTRUCTION) for span in contents(messages, text, template)]
    return tuple(
        sorted(
            [*answers, *(other for other in others if not any(a < other[1] and other[0] < b for a, b, _ in answers))]
        )
    )


def contents(messages: Sequence[Message], text: str, template: Template) -> list[tuple[int, int]]:
    """Spans of the contents of all messages that are not the assistant's, found by rendering markers in their place.

    Raises DataError naming the first message whose content the template changes.
    """
    spots = [i for i, message in enumerate(messages) if message["role"] != "assistant" and message.get("content")]
    marks = {i: f"\x02{i}\x03" for i in spots}
    marked = template.text(
        [{**message, "content": marks[i]} if i in marks else message for i, message in enumerate(messages)]
    )
    spans, cursor, rest = [], 0, marked
    for i in spots:
        literal, found, rest = rest.partition(marks[i])
        content = next(
            (
                form
                for form in (messages[i]["content"], messages[i]["content"].strip())
                if text.startswith(literal + form, cursor)
            ),
            None,
        )
        if not found or content is None:
            raise DataError(
                f"message {i + 1} ({messages[i]['role']}): the chat template changes its text, so its tokens cannot "
                "be told from the "
                "template's; use method nll, or a template that prints contents as they are"
            )
        begin = cursor + len(literal)
        spans.append((begin, begin + len(content)))
        cursor = begin + len(content)
    if text[cursor:] != rest:
        raise DataError(
            f"message {len(messages)}: the chat template renders what follows it differently when contents differ; "
            "use method nll"
        )
    return spans
