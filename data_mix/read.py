"""A source's rows, one after another, in TRL's columns."""

import re
from collections.abc import Iterator, Sequence
from random import Random
from typing import Any

from data_mix import DataError
from data_mix.config import SourceSpec
from data_mix.json_text import json_text

MASKED = re.compile(r"^\*\*\*$|:/+\*\*\*@|[?&][\w.\-]+=\*\*\*")
"""A secret as a run folder has it; a URL without its password, or its signature."""


def check_text(row: dict[str, Any], where: str) -> None:
    """Raise DataError for half a character, which no file can be written with: from a source that is no text."""
    try:
        json_text(row, ensure_ascii=False, default=str).encode()
    except UnicodeEncodeError as error:
        bad = ascii(error.object[error.start])[1:-1]
        raise DataError(f"{where}: {bad} is half of a character; write both halves, or none") from error
    except (RecursionError, ValueError, TypeError) as error:
        raise DataError(f"{where}: cannot be kept: {error}") from error


def numbered(spec: SourceSpec, seed: Any, shapes: Sequence[str] | None = None) -> Iterator[tuple[str, dict[str, Any]]]:
    """(where it stands, for messages; row). Raises DataError, also for a shape that is none of `shapes`."""
    from data_mix.catalog import SOURCES
    from data_mix.shapes import normalise, shape_of

    path = getattr(spec.config, "path", None)
    for key, value in vars(spec.config).items() if spec.config else ():
        if MASKED.search(str(value)):
            raise DataError(
                f"data source {spec.name}: the secret in {key} ({value}) was masked when the run was written; give it "
                f"again, as data.train.0.{key}=..., or log in where it is asked for (`hf auth login`, ~/.netrc)"
            )
    name = f"{spec.name} ({path})" if path else spec.name
    for number, row in enumerate(SOURCES[spec.source].rows(spec.config, Random(f"{seed}/{spec.name}")), 1):
        where = f"{name} row {number}"
        made = normalise(row, spec, where)
        check_text(made, where)
        if shapes and shape_of(made) not in shapes:
            raise DataError(
                f"{where}: its shape is {shape_of(made)}; this stage trains on {' or '.join(shapes)} "
                "(rename with columns, or choose another stage)"
            )
        yield where, made
