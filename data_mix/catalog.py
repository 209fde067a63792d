"""The sources that exist. A row is a name, a config dataclass and a function; nothing registers itself."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

from data_mix.sources import curriculum, facts, files, formats, hub, pydoc, readmes, sql, text
from data_mix.sources.sql import pairs as sql_pairs


@dataclass(frozen=True, kw_only=True)
class Source:
    """A kind of data."""

    config: type
    """Frozen dataclass of the source's own keys; field docstrings are its help."""
    rows: Callable[[Any, Random], Iterator[dict[str, Any]]]
    """(config, generator) -> rows in the stage's columns, or raw rows that `shapes.py` maps to them.

    Raises DataError with file:line; for a row that cannot be used BadRowError, after which the next one may be asked
    for (`bad_rows.Resumable`). Every random choice comes from the generator."""
    about: str
    """One line for `temper list sources`."""


SOURCES: dict[str, Source] = {
    "jsonl": Source(
        config=files.Files, rows=formats.reader("jsonl"), about="JSON lines, plain or .gz: a file, a folder or a glob"
    ),
    "json": Source(config=files.Files, rows=formats.reader("json"), about="a JSON list of objects, plain or .gz"),
    "csv": Source(config=files.Files, rows=formats.reader("csv"), about="CSV with a header, plain or .gz"),
    "parquet": Source(config=files.Files, rows=formats.reader("parquet"), about="Parquet"),
    "text": Source(config=text.Text, rows=text.rows, about="plain text, a row a line, a paragraph or a file"),
    "hub": Source(config=hub.Hub, rows=hub.rows, about="a data set of the Hugging Face hub"),
    "pydoc": Source(
        config=pydoc.Pydoc,
        rows=pydoc.rows,
        about="embedded: the documentation of Python's own library, split by module",
    ),
    "readmes": Source(
        config=readmes.Readmes,
        rows=readmes.rows,
        about="embedded: the descriptions of the packages installed here, prose about many things",
    ),
    "curriculum": Source(
        config=curriculum.Curriculum,
        rows=curriculum.rows,
        about="embedded: small tasks with verifiers: last word of a list, larger of two numbers, sums",
    ),
    "facts": Source(
        config=facts.Facts,
        rows=facts.rows,
        about="embedded: facts about invented people, to forget and to retain, the fact's words marked",
    ),
    "sql": Source(
        config=sql.Sql, rows=sql.rows, about="embedded: SQL queries on small tables, with the engine's own results"
    ),
    "sql_pairs": Source(
        config=sql.Sql,
        rows=sql_pairs.rows,
        about="embedded: SQL queries with the right result, and that of another query in the same form",
    ),
}
