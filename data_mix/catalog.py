"""The sources that exist. A row is a name, a config dataclass and a function; nothing registers itself."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Source:
    """A kind of data."""

    config: type
    """Frozen dataclass of the source's own keys; field docstrings are its help."""
    rows: Callable[[Any, Random], Iterator[dict[str, Any]]]
    """(config, generator) -> rows in the stage's columns, or raw rows that `shapes.py` maps to them.

    Raises DataError with file:line. Every random choice comes from the generator."""
    about: str
    """One line for `temper list sources`."""
