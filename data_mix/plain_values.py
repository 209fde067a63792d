"""Values of typed files as JSON has them, so that a row can be kept, compared and handed to another process."""

import base64
import math
from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any


def plain(value: Any) -> Any:
    """The value without dates, decimals and the like: these become text, as ISO 8601 and as digits.

    Bytes are text where they are UTF-8 (older writers have no other type for it) and stay as they are where not. NaN,
    which a table has where nothing is, is null.
    """
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return None if math.isnan(value) else value
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, date | datetime | time):
        return value.isoformat()
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, timedelta):
        return str(value)
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return value
    number = getattr(value, "item", None)  # numpy's
    return plain(number()) if callable(number) and getattr(value, "shape", None) == () else value


def storable(value: Any) -> Any:
    """What JSON cannot hold of a row that is to be kept: bytes in base64 (RFC 4648), anything else by its type's name.

    For `default` of json.dumps.
    """
    made = plain(value)
    if isinstance(made, bytes):
        return base64.b64encode(made).decode()
    return made if made is not value else f"<{type(value).__name__}>"
