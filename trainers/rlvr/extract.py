r"""Where in a reply the answer stands: the last box, else the last announced answer, else nothing.

The order is that of the General-Reasoner reference code (Ma et al. 2025, arXiv:2505.14652): the last `\boxed{..}` with
its braces balanced; else what follows the last announcement, up to the end of its line: one of the phrases below, an
`<answer>` tag, GSM8K's `####`. Only the end of a reply is searched, so that an answer given up on the way does not
count.
"""

import re

TAIL = 4000
"""Characters at the end that are searched: no search takes long, whatever was written."""
ENDS = re.compile(r"<\|[a-z_]+\|>|</s>")
ANNOUNCED = re.compile(
    r"""
    (?: \b(?:final\ answer|answer|the\ solution)\b (?:\ to\b[^.\n]{1,80}?)?
        [*_"'`]{0,3} \s* (?:is\b|would\ be\b|must\ be\b|:|=)
      | \bcorrect\ (?:option|choice)\ is\b
      | ^[#*_ \t]* (?:final\ )?answer [#*_ \t]*$   # a heading
      | <answer>
      | ^\#\#\#\#(?=[ \t]*[-+−–$€£]?[\d.,]+[ \t.]*$)
      | \#\#\#\#(?=[^\n]*\s*\Z)
    ) [\s:*_]*
    | \bsolution:[ \t]*
    """,
    re.IGNORECASE | re.MULTILINE | re.VERBOSE,
)
UNSAID = re.compile(r"(?:n't|\bnot) (?:think|believe|say)[^.\n]*$", re.IGNORECASE)
NO_ANSWER = re.compile(r"(?:wrong|incorrect|clear|obvious|below|above|as follows)\b|</answer>", re.IGNORECASE)
"""What follows `the answer is` where that announces nothing."""
BOX = re.compile(r"\\f?box(?:ed)?\s*(?=\{)")
JOINED = re.compile(r"\$?[ \t]*(,|(?:,[ \t]*)?(?:or|and)\b)[ \t]*\$?")
"""What makes one answer of two boxes."""
MARKED = re.compile(r"(?<![\w*])(\*{1,3}|_{1,3}|`{1,3})(?=\S)([^\n]{1,300}?)(?<=\S)\1(?![\w*])")


def final_answer(reply: str) -> str | None:
    """The announced answer, or None where the reply announces none."""
    text = ENDS.sub("", reply)[-TAIL:]
    box = last_box(text)
    if box is not None:
        return box
    for found in reversed(list(ANNOUNCED.finditer(text))):
        if UNSAID.search(text, max(0, found.start() - 40), found.start()):
            continue
        rest = text[found.end() :]
        line = rest.partition("</answer>")[0] if "<answer>" in found[0].lower() else rest.partition("\n")[0]
        said = unmarked(line).strip().strip("*_`").rstrip(".").strip()
        if said and not NO_ANSWER.match(said):
            return said
    return None


def last_box(text: str) -> str | None:
    r"""Content of the last \boxed{...}, braces balanced; None where there is none, or it is not closed or empty.

    Boxes that are joined to it (`\boxed{1} or \boxed{2}`) are one answer with it.
    """
    said, start, joint = "", len(text), ""
    for begin in reversed(list(BOX.finditer(text))):
        end = _closed(text, begin.end())
        if end is None:
            return said or None
        content = text[begin.end() + 1 : end].strip()
        if said:
            join = JOINED.fullmatch(text, end + 1, start)
            if not join:
                return said
            joint = " or " if join[1].endswith("or") else ", "
        said, start = content + joint + said if content != said else said, begin.start()
        if not said:
            return None
    return said or None


def _closed(text: str, start: int) -> int | None:
    """Where the brace that opens at `start` is closed."""
    depth = 0
    for place in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[place], 0)
        if depth == 0:
            return place
    return None


def unmarked(text: str) -> str:
    """Without Markdown's marks of emphasis and code around words; `2**3` and `5*3` stay."""
    for _ in range(3):
        text, changed = MARKED.subn(r"\2", text)
        if not changed:
            break
    return text


def thinking_removed(reply: str) -> str:
    """The reply after its last </think>, if it has one; a thought that is never closed leaves nothing."""
    if "</think>" in reply:
        return reply.rpartition("</think>")[2]
    return "" if "<think>" in reply else reply
