"""JSON that somebody else may have written, and JSON that holds somebody else's text."""

import json
from collections.abc import Mapping
from math import isfinite
from typing import Any

from eval_hooks.errors import EvalError

DEEPEST = 100
"""Lists and maps within each other; what walks a value recurses, and Python ends at a thousand."""


def parse_json(text: str | bytes, where: str) -> Any:
    """The value. Raises EvalError with the place for what is no JSON, nests too deep, or has a number of no end."""
    try:
        value = json.loads(text if isinstance(text, str) else text.decode("utf-8-sig"))
        if _depth(value) > DEEPEST:
            raise RecursionError
        return value
    except json.JSONDecodeError as error:
        raise EvalError(f"{where}: not JSON: {error.msg} at line {error.lineno}, column {error.colno}") from error
    except UnicodeDecodeError as error:
        raise EvalError(f"{where}: not JSON: not UTF-8 text: {error.reason} at byte {error.start}") from error
    except RecursionError as error:
        raise EvalError(f"{where}: lists and maps nest more than {DEEPEST} deep") from error
    except ValueError as error:  # a whole number of more digits than Python converts
        raise EvalError(f"{where}: {str(error).partition(';')[0]}") from error


def _depth(value: Any) -> int:
    """Levels of lists and maps, counted without recursion, as far as it matters."""
    level, depth = [value], 0
    while level and depth <= DEEPEST:
        level = [child for one in level if isinstance(one, dict | list)
                 for child in (one.values() if isinstance(one, dict) else one)]  # fmt: skip
        depth += 1
    return depth


def json_text(value: Any, **how: Any) -> str:
    """The value as JSON, NaN and infinity as null: JSON has no such numbers. `how` is what json.dumps takes."""
    if plain := how.pop("default", None):
        how["default"] = lambda other: _finite(plain(other))
    return json.dumps(_finite(value), allow_nan=False, **how)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return value


def encodes(value: Any) -> bool:
    """Whether all its texts can be written as UTF-8: halves of surrogate pairs cannot."""
    try:
        json_text(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def json_bytes(value: Any, indent: int = 1) -> bytes:
    """The value as a file's content; half a surrogate pair, which UTF-8 has not, stays an escape of JSON's."""
    return json_text(value, indent=indent, default=str, ensure_ascii=False).encode("utf-8", "backslashreplace")


def shown(value: object, width: int = 60) -> str:
    """A value as a message shows it, cut where it is long."""
    text = ascii(value)
    return text if len(text) <= width else text[: width - 4] + " ..."
