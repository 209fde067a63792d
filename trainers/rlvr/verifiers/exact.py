"""The whole reply, and nothing but the answer: letter case, outer white space and a final full stop do not count."""

from trainers.rlvr.extract import ENDS, thinking_removed
from trainers.rlvr.verdict import Row, Verdict, right, wrong


def verify(row: Row, completion: str) -> Verdict:
    """Equal to `answer` as text."""
    said, gold = plain(thinking_removed(completion)), plain(row["answer"])
    if not gold:
        raise ValueError("the gold answer is empty")
    if said == gold:
        return right()
    return wrong("says more than the answer" if gold in said else "another text")


def plain(text: str) -> str:
    """Without what does not count."""
    text = " ".join(ENDS.sub("", text).split()).casefold()
    return text.removesuffix(".").rstrip()
