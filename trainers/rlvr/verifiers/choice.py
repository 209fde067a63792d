"""One of several options: a letter, or one of the row's `choices` by its words.

Only one may be named: a reply that lists the options has chosen none.
"""

import re
from collections.abc import Sequence

from trainers.rlvr.extract import final_answer, thinking_removed
from trainers.rlvr.verdict import Row, Verdict, right, wrong

LETTERS = "ABCDEFGHIJ"


def verify(row: Row, completion: str) -> Verdict:
    """The gold option and no other; `answer` is a letter, or one of `choices`."""
    text = thinking_removed(completion)
    gold, options = gold_of(row)
    found = named(final_answer(text) or text, options)
    if len(found) != 1:
        return wrong("no option named" if not found else f"several options named: {', '.join(found)}")
    return right() if found[0] == gold else wrong(f"{found[0]} is not {gold}")


def gold_of(row: Row) -> tuple[str, list[str]]:
    """(`answer`, the options). Raises ValueError where it is none of them."""
    options = list(row.get("choices") or LETTERS)
    gold = row["answer"].strip()
    if gold not in options:
        raise ValueError(f"the gold answer {gold!r} is none of the options {options}")
    return gold, options


def named(text: str, options: Sequence[str]) -> list[str]:
    """The options that stand in a text as words of their own; single letters only in capitals.

    A lone "A" before a word in small letters is the article, "I" the pronoun; but not before or, and, nor, is.
    """
    return [option for option in options if _pattern(option).search(text)]


def _pattern(option: str) -> re.Pattern[str]:
    word = rf"(?<![\w]){re.escape(option)}(?![\w])"
    if len(option) == 1 and option.isalpha():
        article = r"(?!\s+(?!(?:or|and|nor|is)\b)[a-z])" if option in "AI" else ""
        return re.compile(rf"(?<![\w'])[(]?{option}(?![\w']){article}")
    return re.compile(word, re.IGNORECASE)
