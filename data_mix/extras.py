"""Columns of a method's own, kept beside what a row becomes: numbers, or lists of numbers."""

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from data_mix import DataError
from data_mix.config import SourceSpec
from data_mix.forms import Encoded, Form
from data_mix.render import Dropped, Rendering


@dataclass(frozen=True, kw_only=True)
class Extended:
    """An encoded row with the method's columns."""

    row: Encoded
    extra: Mapping[str, Any]

    @property
    def tokens(self) -> int:
        """Tokens that the model reads."""
        return self.row.tokens

    @property
    def supervised(self) -> int:
        """Tokens among them that the loss looks at."""
        return self.row.supervised

    def columns(self, how: Rendering) -> dict[str, Any]:
        """The data set's columns."""
        return {**self.row.columns(how), **self.extra}


def with_columns(form: Form, names: tuple[str, ...]) -> Form:
    """The form whose rows keep these columns; each of several texts that a row becomes has them."""
    if not names:
        return form
    inner = form.encode

    @functools.wraps(inner)
    def encode(row: Mapping[str, Any], tokenizer: Any, how: Rendering) -> list[Any]:
        extra = {name: row[name] for name in names}
        return [
            one if isinstance(one, Dropped) else Extended(row=one, extra=extra) for one in inner(row, tokenizer, how)
        ]

    return replace(form, encode=encode, columns=names)


def extras(row: Mapping[str, Any], spec: SourceSpec, names: Sequence[str], where: str) -> dict[str, Any]:
    """A raw row's values of these columns. Raises DataError for one that is missing, or is no number."""
    found = {}
    for name in names:
        theirs = spec.columns.get(name, name)
        if row.get(theirs) is None:
            raise DataError(
                f"{where}: no {theirs!r}, which the method reads; the row has {sorted(row)}; name yours in the recipe, "
                f"as columns: {{{name}: ...}}"
            )
        value = row[theirs]
        many = value if isinstance(value, list | tuple) and value else [value]
        if not all(isinstance(one, bool | int | float) and math.isfinite(one) for one in many):
            raise DataError(
                f"{where}: {theirs} is {str(value)[:80]!r}; a number, true or false, or a list of them is due"
            )
        found[name] = list(value) if isinstance(value, tuple) else value
    return found
