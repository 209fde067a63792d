"""The whole reply, and nothing but the answer: letter case, outer white space and a final full stop do not count."""

from trainers.rlvr.extract import ENDS, thinking_removed
from trainers.rlvr.verdict import Row, Verdict, right, wrong


def verify(row: Row, completion: str) -> Verdict:
    """Equal to `answer` as text."""
    said, gold = plain(thinking_removed(completion)), gold_of(row)
    if said == gold:
        return right()
    return wrong("says more than the answer" if gold in said else "another text")


def gold_of(row: Row) -> str:
    """What `answer` says. Raises ValueError where that is nothing."""
    gold = plain(row["answer"])
    if not gold:
        raise ValueError(f"the gold answer {row['answer']!r} says nothing")
    return gold


def plain(text: str) -> str:
    """Without what does not count."""
    text = " ".join(ENDS.sub("", text).split()).casefold()
    return text.removesuffix(".").rstrip()
