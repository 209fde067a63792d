r"""Where in a reply the answer stands: the last box, else the last announced answer, else nothing.

The order is that of the General-Reasoner reference code (Ma et al. 2025, arXiv:2505.14652): the last
`\boxed{..}` with its braces balanced; else what follows the last of the phrases below, up to the end of its line. Only
the end of a reply is searched, so that an answer given up on the way does not count.
"""

import re

TAIL = 4000
"""Characters at the end that are searched: no search takes long, whatever was written."""
PHRASES = re.compile(
    r"(?:final answer is:?|final answer:|the answer is:?|answer:|the solution is:?|solution:)\s*(.+)", re.IGNORECASE
)
ENDS = re.compile(r"<\|[a-z_]+\|>|</s>")


def final_answer(reply: str) -> str | None:
    """The announced answer, or None where the reply announces none."""
    text = ENDS.sub("", reply)[-TAIL:]
    box = last_box(text)
    if box is not None:
        return box
    found = PHRASES.findall(text)
    said = found[-1].strip().strip("*").rstrip(".").strip() if found else ""
    return said or None


def last_box(text: str) -> str | None:
    r"""Content of the last \boxed{...}, braces balanced; None where there is none, or it is not closed or empty."""
    begin = text.rfind(r"\boxed{")
    if begin < 0:
        return None
    depth, start = 0, begin + len(r"\boxed")
    for place in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[place], 0)
        if depth == 0:
            return text[start + 1 : place].strip() or None
    return None


def thinking_removed(reply: str) -> str:
    """The reply after its last </think>, if it has one; a thought that is never closed leaves nothing."""
    if "</think>" in reply:
        return reply.rpartition("</think>")[2]
    return "" if "<think>" in reply else reply
