"""Whether a text says anything: blanks, characters that nobody sees and thinking are no answer."""

import re
import unicodedata

UNSEEN = ("Zs", "Zl", "Zp", "Cc", "Cf")
"""Unicode's general categories of white space, controls and formats: NBSP, zero-width spaces, BOM, soft hyphen."""
FILLERS = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0" + "".join(map(chr, range(0xFE00, 0xFE10))))
"""Letters, marks and symbols that print as nothing all the same: fillers, the empty Braille cell, variation marks."""
THINKING = re.compile(r"\s*(?:<(think|thinking|thought|reasoning)>|\[THINK\]).*?(?:</\1>|\[/THINK\]|\Z)", re.DOTALL)
"""One block at the beginning, also one that never ends."""


def silence(text: str) -> str:
    """How a text says nothing: `empty`, also to the eye, or `thinking only`; "" where it says something."""
    if not text.strip():
        return "empty"
    if blank(text):
        return f"empty to the eye ({ascii(text[:20])})"
    while found := THINKING.match(text):
        text = text[found.end() :]
    lone = text.rstrip().endswith("</think>") and "<think>" not in text  # begun in the prompt, as DeepSeek-R1's is
    return "thinking only" if lone or blank(text) else ""


def blank(text: str) -> bool:
    """Whether nothing of it can be seen."""
    return all(unicodedata.category(char) in UNSEEN or char in FILLERS for char in text)
