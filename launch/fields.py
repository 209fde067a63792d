"""What can be read from a config class: its keys, their types, and the sentence under each."""

import ast
import dataclasses
import inspect
import textwrap
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Field:
    """One key of a config class."""

    name: str
    hint: Any
    required: bool
    default: Any
    """None where there is none, or none that plain data can show."""
    about: str
    """Its docstring, or the `help` of its metadata (transformers, TRL, PEFT)."""


@cache
def fields_of(cls: type) -> Mapping[str, Field]:
    """The keys a dataclass takes, by name, in order. Inherited ones are documented where they were written."""
    hints = typing.get_type_hints(cls)
    docs = {name: text for base in reversed(cls.__mro__) for name, text in _docstrings(base).items()}
    found = {}
    for field in dataclasses.fields(cls):
        if not field.init:
            continue
        made = field.default_factory is not dataclasses.MISSING
        default = field.default if field.default is not dataclasses.MISSING else None
        found[field.name] = Field(
            name=field.name,
            hint=hints[field.name],
            required=field.default is dataclasses.MISSING and not made,
            default=default,
            about=docs.get(field.name) or " ".join(str(field.metadata.get("help") or "").split()),
        )
    return found


def _docstrings(cls: type) -> dict[str, str]:
    """The string under each annotated field of a class body."""
    if not dataclasses.is_dataclass(cls):
        return {}
    try:
        body = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
    except (OSError, TypeError):  # a class without a source file: made in a console, or by make_dataclass
        return {}
    assert isinstance(body, ast.ClassDef)
    docs = {}
    for statement, after in zip(body.body, body.body[1:], strict=False):
        if (
            isinstance(statement, ast.AnnAssign)
            and isinstance(statement.target, ast.Name)
            and isinstance(after, ast.Expr)
        ):
            text = after.value.value if isinstance(after.value, ast.Constant) else None
            if isinstance(text, str):
                docs[statement.target.id] = " ".join(text.split())
    return docs
