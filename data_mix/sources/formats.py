"""The formats of rows in files: jsonl, json, csv (plain or gzip) and parquet. Every row knows its line."""

import csv
from collections.abc import Callable, Iterator
from itertools import chain, islice
from pathlib import Path
from random import Random
from typing import Any

from data_mix import DataError
from data_mix.bad_rows import BadRowError, Resumable, Row
from data_mix.json_text import NoJson, elements, parse_json
from data_mix.plain_values import plain
from data_mix.sources.files import LONGEST, Files, check_regular, matching, raw_lines, unreadable, whole

BATCH = 1000
"""Rows of a Parquet file in memory at a time; each may be long."""

Found = Iterator[Row | BadRowError]
Read = Callable[[Path], Found]


def reader(ending: str) -> Callable[[Files, Random], Iterator[dict[str, Any]]]:
    """The `rows` function of a source for one kind of file."""

    def rows(cfg: Files, rng: Random) -> Iterator[dict[str, Any]]:
        found = chain.from_iterable(READERS[ending](file) for file in matching(cfg.path, ending))
        return Resumable(islice(found, cfg.n))

    return rows


def _jsonl(file: Path) -> Found:
    for number, raw in enumerate(raw_lines(file), 1):
        where, line = f"{file}:{number}", raw.rstrip("\r\n").lstrip("\ufeff")  # files laid together have a mark each
        if not line.strip():
            continue
        if number == 1 and line.strip() == "[":
            raise DataError(f"{where}: a JSON list begins here; write source: json, or a row a line")
        if problem := unreadable(line):
            yield BadRowError(where, problem)
            continue
        try:
            yield _row(parse_json(line, str(file), number), where)
        except DataError as error:
            yield BadRowError(where, str(error).removeprefix(f"{where}: "))


def _row(value: Any, where: str) -> Row | BadRowError:
    if not isinstance(value, dict):
        return BadRowError(
            where, f"a row must be an object, got {type(value).__name__}; write {{...}}, or leave it out"
        )
    return Row(value, where)


def _json(file: Path) -> Found:
    for line, value in elements(whole(file), str(file)):
        where = f"{file}:{line}"
        yield BadRowError(where, value.reason) if isinstance(value, NoJson) else _row(value, where)


def _csv(file: Path) -> Found:
    records = csv_records(file)
    _, header = next(records, (0, []))
    if not header:
        raise DataError(f"{file}: empty; the first line must name the columns")
    if isinstance(header, str):
        raise DataError(f"{file}:1: {header}")
    if twice := [name for name in header if header.count(name) > 1]:
        raise DataError(f"{file}:1: column {twice[0]!r} is there twice; every column needs a name of its own")
    if len(header) == 1 and (other := [mark for mark in ";\t|" if mark in header[0]]):
        raise DataError(f"{file}:1: one column {header[0][:80]!r}; part the columns by commas, not by {other[0]!r}")
    for line, fields in records:
        where = f"{file}:{line}"
        if isinstance(fields, str):
            yield BadRowError(where, fields)
        elif len(fields) != len(header):
            said = f"{len(fields)} fields, the header has {len(header)}; is a comma or a quote missing?"
            yield BadRowError(where, said)
        else:
            yield Row(zip(header, fields, strict=True), where)


def csv_records(file: Path) -> Iterator[tuple[int, list[str] | str]]:
    """(line it begins at, fields, or what is wrong with it) of a CSV file, without empty lines.

    Raises DataError where a quote is open: no later record can be told then.
    """
    csv.field_size_limit(LONGEST)  # of the whole process; its default refuses a text of 131,072 characters
    rows = csv.reader(raw_lines(file), strict=True)
    while True:
        first = rows.line_num + 1
        try:
            fields = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            problem = f"not CSV: {error}; is a quote open, or one inside a text not doubled?"
            if rows.line_num > first or "unexpected end" in str(error):
                raise DataError(f"{file}:{first}: {problem}") from error
            yield first, problem
            continue
        if first == 1 and fields:
            fields[0] = fields[0].lstrip("\ufeff")
        if len(fields) > 1 or any(text.strip() for text in fields):
            yield first, unreadable("\n".join(fields)) or fields


def csv_rows(file: Path) -> Iterator[tuple[int, list[str]]]:
    """The same, where every record must be right. Raises DataError for what is no CSV."""
    for line, fields in csv_records(file):
        if isinstance(fields, str):
            raise DataError(f"{file}:{line}: {fields}")
        yield line, fields


def _parquet(file: Path) -> Found:
    import pyarrow as pa
    import pyarrow.parquet as pq

    check_regular(file)
    number = 0
    try:
        with file.open("rb") as handle, pq.ParquetFile(handle) as table:
            if twice := [name for name in table.schema_arrow.names if table.schema_arrow.names.count(name) > 1]:
                raise DataError(f"{file}: column {twice[0]!r} is there twice; every column needs a name of its own")
            for batch in table.iter_batches(BATCH):
                for row in batch.to_pylist():
                    number += 1
                    yield Row(plain(row), f"{file} row {number}")
    except DataError:
        raise
    except (pa.ArrowException, OSError, ValueError, OverflowError, KeyError) as error:
        said = " ".join(str(error).split())[:300]
        what = "not a parquet file" if not number else f"cannot be read behind row {number}"
        raise DataError(f"{file}: {what}: {said}") from error


READERS: dict[str, Read] = {"jsonl": _jsonl, "json": _json, "csv": _csv, "parquet": _parquet}
