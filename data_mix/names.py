"""What a source may be called: the name is part of keys, and of the names of files."""

import re

LONGEST = 100
"""Bytes of UTF-8: a file's name may have 255, and those who write files add endings."""
NAME = re.compile(r"[\w+][\w.+-]*")
RULE = f"letters, digits, _ . + - only, not . or - first, at most {LONGEST} bytes"


def is_name(text: object) -> bool:
    """Whether it can be a file's name everywhere, and leads out of no folder."""
    return isinstance(text, str) and NAME.fullmatch(text) is not None and len(text.encode()) <= LONGEST
