"""A source's rows, one after another, in TRL's columns."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import count, islice
from random import Random
from typing import Any

from data_mix import DataError
from data_mix.bad_rows import BadRowError, BadRows, Row, place_of
from data_mix.config import SourceSpec
from data_mix.forms import Form
from data_mix.json_text import json_text
from data_mix.plain_values import storable

MASKED = re.compile(r"^\*\*\*$|:/+\*\*\*@|[?&][\w.\-]+=\*\*\*")
"""A secret as a run folder has it; a URL without its password, or its signature."""
BLOCK = 1000
"""Rows that are looked at together where a form looks at several."""


def stored(row: Mapping[str, Any], where: str) -> Row:
    """The row as JSON would keep it. Raises DataError for half a character, and what cannot be written at all."""
    typed: list[Any] = []

    def noted(value: Any) -> Any:
        typed.append(value)
        return storable(value)

    try:
        text = json_text(row, ensure_ascii=False, default=noted)
        text.encode()
        return Row(json.loads(text) if typed else row, where)
    except UnicodeEncodeError as error:
        bad = ascii(error.object[error.start])[1:-1]
        raise DataError(f"{where}: {bad} is half of a character; write both halves, or none") from error
    except (RecursionError, ValueError, TypeError) as error:
        raise DataError(f"{where}: cannot be kept: {error}") from error


def numbered(
    spec: SourceSpec,
    seed: Any,
    shapes: Sequence[str] | None = None,
    bad: BadRows | None = None,
    columns: Sequence[str] = (),
) -> Iterator[tuple[str, Row]]:
    """(where it stands, for messages; row, with these columns of its own).

    Rows that cannot be used go to `bad`, among them those of another shape. Raises DataError for a source that cannot
    be read; without `bad` for the first such row, too.
    """
    from data_mix.catalog import SOURCES

    path = getattr(spec.config, "path", None)
    for key, value in vars(spec.config).items() if spec.config else ():
        if MASKED.search(str(value)):
            raise DataError(
                f"data source {spec.name}: the secret in {key} ({value}) was masked when the run was written; give it "
                f"again, as data.train.0.{key}=..., or log in where it is asked for (`hf auth login`, ~/.netrc)"
            )
    name = f"{spec.name} ({path})" if path else spec.name
    rows = iter(SOURCES[spec.source].rows(spec.config, Random(f"{seed}/{spec.name}")))
    for number in count(1):
        try:
            raw = next(rows)
        except StopIteration:
            return
        except BadRowError as error:
            if bad is None:
                raise
            bad.add(error.where, error.reason)
            continue
        where = place_of(raw) or f"{name} row {number}"
        try:
            made = _shaped(raw, spec, where, shapes, columns)
        except DataError as error:
            if bad is None:
                raise
            bad.add(where, str(error))
            continue
        yield where, made


def _shaped(
    raw: Mapping[str, Any], spec: SourceSpec, where: str, shapes: Sequence[str] | None, columns: Sequence[str]
) -> Row:
    """A row in TRL's columns, of one of the shapes. Raises DataError."""
    from data_mix.extras import extras
    from data_mix.shapes import normalise, shape_of

    made = stored(normalise(raw, spec, where), where)
    if shapes and shape_of(made) not in shapes:
        raise DataError(
            f"{where}: its shape is {shape_of(made)}; this stage trains on {' or '.join(shapes)} "
            "(rename with columns, or choose another stage)"
        )
    return Row({**made, **extras(raw, spec, columns, where)}, where) if columns else made


def usable(spec: SourceSpec, seed: Any, form: Form, bad: BadRows) -> Iterator[tuple[str, Row]]:
    """The same of rows to train on, without those that the form itself cannot use, which go to `bad` too."""
    rows = numbered(spec, seed, form.shapes, bad, form.columns)
    if form.unusable is None:
        yield from rows
        return
    while block := list(islice(rows, BLOCK)):
        problems = form.unusable([row for _, row in block])
        for index, (where, row) in enumerate(block):
            if index in problems:
                bad.add(where, problems[index])
            else:
                yield where, row
