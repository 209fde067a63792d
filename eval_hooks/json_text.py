"""JSON that somebody else may have written, and JSON that holds somebody else's text."""

import json
from typing import Any

from eval_hooks.errors import EvalError


def parse_json(text: str | bytes, where: str) -> Any:
    """The value. Raises EvalError with the place for what is no JSON, nests too deep, or has a number of no end."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise EvalError(f"{where}: not JSON: {error.msg} at line {error.lineno}, column {error.colno}") from error
    except UnicodeDecodeError as error:
        raise EvalError(f"{where}: not JSON: not UTF-8 text: {error.reason} at byte {error.start}") from error
    except RecursionError as error:
        raise EvalError(f"{where}: nests too deep to be read") from error
    except ValueError as error:  # a whole number of more digits than Python converts
        raise EvalError(f"{where}: {str(error).partition(';')[0]}") from error


def json_bytes(value: Any, indent: int = 1) -> bytes:
    """The value as a file's content; half a surrogate pair, which UTF-8 has not, stays an escape of JSON's."""
    return json.dumps(value, indent=indent, default=str, ensure_ascii=False).encode("utf-8", "backslashreplace")


def shown(value: object, width: int = 60) -> str:
    """A value as a message shows it, cut where it is long."""
    text = ascii(value)
    return text if len(text) <= width else text[: width - 4] + " ..."
