"""JSON that somebody else wrote: read strictly, and refused with its place."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
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
        value = STRICT.decode(text)
        _check(value, text)
    except json.JSONDecodeError as error:
        at = source if line is None else f"{source}:{line + error.lineno - 1}"
        part = error.doc[max(0, error.pos - 20) : error.pos + 40].strip()
        said = f"not JSON: {error.msg} at column {error.colno}, near {part!r}"
        raise DataError(f"{at}: {said}; mend it, or leave the row out") from error
    except (RecursionError, ValueError) as error:
        raise DataError(f"{where}: {_reason(error)}") from error
    return value


@dataclass(frozen=True)
class NoJson:
    """An element of a list that is not to be used, though where it ends can be told."""

    reason: str


def elements(text: str, source: str) -> Iterator[tuple[int, Any]]:
    """(line it begins at, value, or NoJson) of every element of a file's list, or of `{"data": [...]}`.

    Raises DataError with the line for what is no JSON, and for another value in the list's place.
    """
    due = f'{source}: must hold a list of objects, or {{"data": [...]}}'
    try:
        at = _list_at(text)
    except (ValueError, RecursionError):  # no JSON as far as was looked: the whole says where
        parse_json(text, source, 1)
        raise DataError(due) from None
    if at is None:
        value = parse_json(text, source, 1)
        raise DataError(f"{due}; it holds {type(value).__name__}")
    line, seen, at = 1, 0, _after_space(text, at + 1)
    while not text.startswith("]", at):
        line, seen = line + text.count("\n", seen, at), at
        try:
            value, at = _element(text, at)
        except (json.JSONDecodeError, RecursionError):
            parse_json(text, source, 1)
            raise
        yield line, value
        at = _after_space(text, at)
        if text.startswith(",", at) and not text.startswith("]", after := _after_space(text, at + 1)):
            at = after
        elif not text.startswith("]", at):
            parse_json(text, source, 1)  # raises: no comma, or nothing behind one
    try:
        LOOSE.decode(("[]" if text.lstrip().startswith("[") else '{"data": []') + text[at + 1 :])
    except (ValueError, RecursionError):
        parse_json(text, source, 1)
        raise DataError(due) from None


def _list_at(text: str) -> int | None:
    """Where the list of rows begins; None where there is none. Raises ValueError for what is no JSON."""
    at = _after_space(text, 0)
    if text.startswith("[", at):
        return at
    if not text.startswith("{", at):
        return None
    at = _after_space(text, at + 1)
    while text.startswith('"', at):
        key, at = LOOSE.raw_decode(text, at)
        at = _after_space(text, _after_space(text, at) + 1)  # behind the colon
        if key == "data":
            return at if text.startswith("[", at) else None
        _, at = LOOSE.raw_decode(text, at)
        at = _after_space(text, _after_space(text, at) + 1)  # behind the comma
    return None


def _element(text: str, begin: int) -> tuple[Any, int]:
    """(value or NoJson, where it ends). Raises JSONDecodeError, and RecursionError."""
    try:
        value, end = STRICT.raw_decode(text, begin)
        _check(value, text[begin:end])
        return value, end
    except json.JSONDecodeError:
        raise
    except (RecursionError, ValueError) as error:
        return NoJson(_reason(error)), LOOSE.raw_decode(text, begin)[1]


def _after_space(text: str, at: int) -> int:
    found = SPACE.match(text, at)
    assert found is not None
    return found.end()


def _check(value: Any, text: str) -> None:
    """Raise RecursionError for what nests too deep, UnicodeEncodeError for half a character."""
    if text.count("[") + text.count("{") > DEEPEST and _depth(value) > DEEPEST:
        raise RecursionError
    if "\\ud" in text or "\\uD" in text:
        json_text(value, ensure_ascii=False).encode()


def _reason(error: Exception) -> str:
    """Why a value is not taken, in words."""
    if isinstance(error, RecursionError):
        return f"lists and maps nest more than {DEEPEST} deep; make it flatter"
    if isinstance(error, UnicodeEncodeError):
        return f"{ascii(error.object[error.start])[1:-1]} is half of a character; write both halves, or none"
    return str(error).partition(";")[0]


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


STRICT = json.JSONDecoder(parse_constant=_no_number, object_pairs_hook=_distinct)
LOOSE = json.JSONDecoder(parse_int=str)
"""Tells where a value ends that is not to be used."""
SPACE = re.compile(r"[ \t\n\r]*")
