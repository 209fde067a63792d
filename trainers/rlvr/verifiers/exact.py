r"""The whole reply, and nothing but the answer.

Letter case, white space, a final full stop, and marks around all of it do not count: emphasis, quotation marks, a code
block, dollar signs, `\boxed{}`.
"""

import re
import unicodedata

from trainers.rlvr.extract import ENDS, thinking_removed
from trainers.rlvr.verdict import Row, Verdict, golds, right, wrong

FENCE = re.compile(r"\s*```\w*\n(.*?)\n?```\s*", re.DOTALL)
PAIRS = (
    ("***", "***"), ("**", "**"), ("__", "__"), ("*", "*"), ("_", "_"), ("`", "`"), ("$", "$"), ('"', '"'), ("'", "'"),
    ("“", "”"), ("«", "»"), ("‘", "'"), ("\\boxed{", "}"), ("\\fbox{", "}"), ("\\text{", "}"),
)  # fmt: skip
"""What stands around a whole reply without being part of it."""


def verify(row: Row, completion: str) -> Verdict:
    """Equal to `answer` as text."""
    said, due = plain(thinking_removed(completion)), gold_of(row)
    bare = said
    for _ in range(4):
        if bare in due:
            return right(f"says {bare[:60]!r} and nothing else")
        bare = _opened(bare)
    return wrong("says more than the answer" if any(gold in said for gold in due) else "another text")


def gold_of(row: Row) -> list[str]:
    """What the gold answers say. Raises ValueError where that is nothing."""
    found = [plain(gold) for gold in golds(row)]
    if not all(found):
        raise ValueError(f"the gold answer {row['answer']!r:.60} says nothing")
    return found


def plain(text: str) -> str:
    """Without what does not count."""
    text = unicodedata.normalize("NFC", ENDS.sub("", text)).replace("’", "'")
    if code := FENCE.fullmatch(text):
        text = code[1]
    text = " ".join(text.split()).casefold()
    return text.removesuffix(".").rstrip()


def _opened(text: str) -> str:
    """Without the marks around all of it."""
    for before, after in PAIRS:
        inner = text[len(before) : len(text) - len(after)]
        if text.startswith(before) and text.endswith(after) and inner.strip():
            return inner.strip().removesuffix(".").rstrip()
    return text
