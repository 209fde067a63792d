"""Names that become names of files, folders and keys: a task's, a validation set's, a run's."""

import re
from collections.abc import Iterable

LONGEST = 100
"""Bytes of UTF-8: a file's name may have 255, and ours add endings and a temporary file's prefix."""
NAME = re.compile(r"[\w+][\w.+-]*")
RULE = f"letters, digits, _ . + - only, not . or - first, at most {LONGEST} bytes"


def is_name(text: object) -> bool:
    """Whether it can be a file's name everywhere, leads out of no folder, and reads as no option of a command."""
    return isinstance(text, str) and NAME.fullmatch(text) is not None and len(text.encode()) <= LONGEST


def as_name(text: str, default: str) -> str:
    """The nearest name: what a name may not have becomes one `-`; `default` where nothing is left."""
    kept = re.sub(r"[^\w.+-]+", "-", text).lstrip(".-").encode()[:LONGEST].decode(errors="ignore").rstrip("-")
    return kept if is_name(kept) else default


def alike(names: Iterable[str]) -> list[str]:
    """Names that an earlier one equals, but for capitals: file systems may take both for one."""
    seen: set[str] = set()
    found = []
    for name in names:
        if name.casefold() in seen:
            found.append(name)
        seen.add(name.casefold())
    return found
