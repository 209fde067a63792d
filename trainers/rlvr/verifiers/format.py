"""The form of a reply, whatever it says: by default reasoning, then `</think> <answer>..</answer>`, each tag once.

`format` in a row is a regular expression that the whole reply must match instead. After the format reward of Shrestha
et al. 2025, arXiv:2505.13718.
"""

import re

from trainers.rlvr.extract import ENDS
from trainers.rlvr.verdict import Row, Verdict, right, wrong

DEFAULT = re.compile(r"(?:<think>)?(?P<thought>.*?)</think>\s*<answer>(?P<answer>\s*+\S.*?)</answer>\s*", re.DOTALL)
TAGS = ("<think>", "</think>", "<answer>", "</answer>")


def verify(row: Row, completion: str) -> Verdict:
    """The form alone is judged."""
    text = ENDS.sub("", completion).strip()
    if pattern := pattern_of(row):
        return (
            right("has the form asked for") if pattern.fullmatch(text) else wrong(f"does not match {pattern.pattern}")
        )
    if twice := [tag for tag in TAGS if text.count(tag) > 1]:
        return wrong(f"{twice[0]} more than once")
    if "<think>" in text and not text.startswith("<think>"):
        return wrong("something before <think>")
    return right("has the form asked for") if DEFAULT.fullmatch(text) else wrong("not ..</think> <answer>..</answer>")


def pattern_of(row: Row) -> re.Pattern[str] | None:
    """The row's own pattern, if it has one. Raises ValueError for one that is no regular expression."""
    given = row.get("format")
    if not given:
        return None
    try:
        return re.compile(given, re.DOTALL)
    except (re.error, TypeError, OverflowError, RecursionError) as error:
        raise ValueError(f"format {str(given)[:60]!r} is no regular expression: {error}") from error
