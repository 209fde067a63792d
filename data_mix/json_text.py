"""JSON that somebody else wrote: read strictly, and refused with its place."""

import json
from collections.abc import Mapping
from math import isfinite
from typing import Any

from data_mix import DataError

DEEPEST = 100
"""Lists and maps within each other; what walks a row recurses, and Python ends at a thousand."""


def parse_json(text: str, source: str, line: int | None = None) -> Any:
    """The value. Raises DataError with the place for what is no JSON: NaN, a key that is there twice, half a character.

    Also for what nests too deep, and a whole number of more digits than Python converts. `line` is the text's first one
    in its file.
    """
    where = source if line is None else f"{source}:{line}"
    try:
        value = json.loads(text, parse_constant=_no_number, object_pairs_hook=_distinct)
        if text.count("[") + text.count("{") > DEEPEST and _depth(value) > DEEPEST:
            raise RecursionError
        if "\\ud" in text or "\\uD" in text:
            json_text(value, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        at = source if line is None else f"{source}:{line + error.lineno - 1}"
        part = error.doc[max(0, error.pos - 20) : error.pos + 40].strip()
        said = f"not JSON: {error.msg} at column {error.colno}, near {part!r}"
        raise DataError(f"{at}: {said}; mend it, or leave the row out") from error
    except RecursionError as error:
        raise DataError(f"{where}: lists and maps nest more than {DEEPEST} deep; make it flatter") from error
    except UnicodeEncodeError as error:
        bad = error.object[error.start]
        raise DataError(f"{where}: {ascii(bad)[1:-1]} is half of a character; write both halves, or none") from error
    except ValueError as error:
        raise DataError(f"{where}: {str(error).partition(';')[0]}") from error
    return value


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


def _no_number(word: str) -> None:
    raise ValueError(f"not JSON: {word} is no number; write null")


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"key {ascii(twice)[:60]} is there twice; remove one of them")
    return found


def _depth(value: Any) -> int:
    """Levels of lists and maps, counted without recursion, as far as it matters."""
    level, depth = [value], 0
    while level and depth <= DEEPEST:
        level = [child for one in level if isinstance(one, dict | list)
                 for child in (one.values() if isinstance(one, dict) else one)]  # fmt: skip
        depth += 1
    return depth
