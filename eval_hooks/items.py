"""What a task hands to a scorer: items, independent of where they came from."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from eval_hooks.errors import EvalError
from eval_hooks.json_text import shown


@dataclass(frozen=True, kw_only=True)
class ChoiceItem:
    """A question with options, one of them right."""

    item_id: str
    """subject/idx, unique within a task."""
    subject: str
    question: str
    choices: tuple[str, ...]
    gold: int
    """Index of the right option, from 0."""

    def __post_init__(self) -> None:
        """Refuse an option that there is not, as the last one is where options are counted from one."""
        if not 0 <= self.gold < len(self.choices):
            raise EvalError(
                f"{self.item_id}: gold {self.gold} is none of the {len(self.choices)} options, which count from 0"
            )


@dataclass(frozen=True, kw_only=True)
class ChoiceSet:
    """Items to score and, per subject, the solved examples that may stand before them (dev rows, in order)."""

    items: tuple[ChoiceItem, ...]
    dev: Mapping[str, tuple[ChoiceItem, ...]] = field(default_factory=dict)
    validation: "ChoiceSet | None" = None
    """The items that a temperature is fitted on, where one is asked for."""


@dataclass(frozen=True, kw_only=True)
class GenerateItem:
    """A prompt and the answer that counts as right."""

    item_id: str
    prompt: str | Sequence[Mapping[str, Any]]
    """Plain text, or chat messages for the model's template."""
    gold: str
    row: Mapping[str, Any] = field(default_factory=dict)
    """The source's row, for a judge that reads more than the gold answer."""


@dataclass(frozen=True, kw_only=True)
class RecallItem:
    """A prompt with the answer that is known or not, and the words in it that are the fact."""

    item_id: str
    prompt: str | Sequence[Mapping[str, Any]]
    answer: str
    value: str
    """The fact's own words, a part of the answer; the sentence around them is guessable."""
    again: str = ""
    """The answer in other words, for the truth ratio."""
    wrong: tuple[str, ...] = ()
    """Wrong answers in the answer's form."""


@dataclass(frozen=True, kw_only=True)
class LossItem:
    """A tokenised row; labels are -100 where a token is context only."""

    item_id: str
    input_ids: tuple[int, ...]
    labels: tuple[int, ...]


LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


NAMED = 20
"""Bad rows that a message names."""


def refuse(problems: Sequence[str]) -> None:
    """Raise EvalError with all that is wrong, where anything is."""
    if problems:
        more = len(problems) - NAMED
        raise EvalError("\n".join([*problems[:NAMED], *([f"and {more:,} more"] if more > 0 else [])]))


def choice_items(
    files: Sequence[Iterable[tuple[str, Mapping[str, Any]] | EvalError]], gold_base: int | None
) -> list[list[ChoiceItem]]:
    """The items of several files, (file:line, row) each, or what is wrong with a line; all count their answers alike.

    Raises EvalError with all bad rows of all files, and where answers are numbers, none is 0 and nothing is said
    (`counted_from_one`).
    """
    made: list[list[ChoiceItem]] = []
    problems, numbers = [], []
    for file in files:
        made.append([])
        for order, one in enumerate(file):
            if isinstance(one, EvalError):
                problems.append(str(one))
                continue
            where, row = one
            try:
                made[-1].append(choice_item(row, where, order, gold_base or 0))
            except EvalError as error:
                problems.append(str(error))
            if isinstance(row, Mapping) and (number := gold_number(row.get("answer"))) is not None:
                numbers.append((where, number))
    doubt = counted_from_one(numbers) if gold_base is None else ""
    refuse([*([doubt] if doubt else []), *problems])
    return made


def counted_from_one(numbers: Sequence[tuple[str, int]]) -> str:
    """Why answers may not count from 0, (place, number) each; "" where one is 0, or there is none.

    1 to n, read from 0 on, would all be one option too high, and score as if the model were wrong.
    """
    if not numbers or not all(number for _, number in numbers):
        return ""
    where, number = numbers[0]
    return (
        f"{where}: answer {number}: {len(numbers):,} answers are numbers and none is 0, so they may count from 1; "
        "write gold_base: 1, or gold_base: 0 if they count from 0"
    )


def choice_item(row: Mapping[str, Any], where: str, order: int, gold_base: int = 0) -> ChoiceItem:
    """One row of a question file: question, choices (or columns A, B, ...), answer (letter or number), subject, idx.

    `where` is file:line, for the message; `order` stands in for a missing idx; `gold_base` is the first option's
    number.
    """
    if not isinstance(row, Mapping):
        raise EvalError(f"{where}: a row must be an object, got {type(row).__name__}")
    question = row.get("question")
    choices = row.get("choices")
    if choices is None:
        choices = _lettered(row, where)
    if not isinstance(question, str) or not isinstance(choices, list | tuple) or len(choices) < 2:
        raise EvalError(
            f"{where}: a row needs `question` and at least two `choices` (or columns A, B, ...); "
            f"it has {sorted(map(str, row))}"
        )
    subject = str(row.get("subject") or "all")
    return ChoiceItem(
        item_id=f"{subject}/{row.get('idx', order)}",
        subject=subject,
        question=question,
        choices=tuple(str(choice) for choice in choices),
        gold=_gold_index(row.get("answer"), len(choices), where, gold_base),
    )


def _lettered(row: Mapping[str, Any], where: str) -> list[Any]:
    """The options of columns A, B, ... Raises EvalError for a gap, behind which every letter would name another one."""
    there = [letter for letter in LETTERS if row.get(letter) is not None]
    if there != list(LETTERS[: len(there)]):
        gap = next(letter for letter in LETTERS if letter not in there)
        raise EvalError(f"{where}: there is no option {gap} before {there[-1]}; fill it, or move the others up")
    return [row[letter] for letter in there]


def gold_number(answer: Any) -> int | None:
    """An answer that is a whole number; None for a letter and all else."""
    text = str(answer).strip()
    return int(text) if text.isdecimal() and len(text) < 4 else None


def _gold_index(answer: Any, n: int, where: str, gold_base: int) -> int:
    """A letter of either case, or a number from `gold_base` on, to an index among n options."""
    text, number = str(answer).strip(), gold_number(answer)
    index = -1 if number is None else number - gold_base
    if len(text) == 1 and text.isascii() and text.isalpha():
        index = LETTERS.find(text.upper())
    if not 0 <= index < n:
        other = "" if gold_base else " (from 1 on with gold_base: 1)"
        raise EvalError(
            f"{where}: answer {shown(answer)} is none of the {n} options; write a letter {LETTERS[0]} to "
            f"{LETTERS[min(n, 26) - 1]} or an index {gold_base} to {n - 1 + gold_base}{other}"
        )
    return index


def limited(items: Sequence[ChoiceItem], limit: int | None) -> tuple[ChoiceItem, ...]:
    """At most `limit` items, taken from the subjects in turn, in the file's order within and between subjects."""
    if limit is None or limit >= len(items):
        return tuple(items)
    rank: dict[str, int] = {}
    turns = []
    for position, item in enumerate(items):
        turns.append((rank.get(item.subject, 0), position))
        rank[item.subject] = rank.get(item.subject, 0) + 1
    kept = sorted(position for _, position in sorted(turns)[:limit])
    return tuple(items[position] for position in kept)
