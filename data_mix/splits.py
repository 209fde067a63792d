"""Splits that follow from what a thing is: the same wherever and in whatever order it is asked for."""

import hashlib
from typing import Literal

Split = Literal["train", "validation", "test"]


def split_of_hash(digest: str) -> Split:
    """Eight tenths train, one validation, one test, by a hash in hexadecimal."""
    tenth = int(digest, 16) % 10
    return "validation" if tenth == 8 else "test" if tenth == 9 else "train"


def split_of_name(name: str) -> Split:
    """The split of what a name stands for."""
    return split_of_hash(hashlib.sha256(name.encode()).hexdigest())
