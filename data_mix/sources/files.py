"""Rows from files: jsonl, json, csv (plain or .gz) and parquet; a file, a folder or a glob."""

import csv
import glob
import gzip
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import islice
from pathlib import Path
from random import Random
from typing import IO, Any

from data_mix import DataError


@dataclass(frozen=True, kw_only=True)
class Files:
    """Which files."""

    path: str
    """A file, a folder or a glob."""
    n: int | None = None
    """At most this many rows, the first ones."""


Read = Callable[[Path], Iterator[dict[str, Any]]]


def reader(ending: str) -> Callable[[Files, Random], Iterator[dict[str, Any]]]:
    """The `rows` function of a source for one kind of file."""

    def rows(cfg: Files, rng: Random) -> Iterator[dict[str, Any]]:
        return islice((row for file in matching(cfg.path, ending) for row in READERS[ending](file)), cfg.n)

    return rows


def matching(path: str, ending: str) -> list[Path]:
    """The files a path means, in the order of their names. Raises DataError naming the nearest where there are none."""
    here = Path(path).expanduser()
    if here.is_file():
        return [here]
    if here.is_dir():
        files = sorted(f for f in here.iterdir() if f.name.endswith((f".{ending}", f".{ending}.gz")))
    else:
        files = sorted(Path(name) for name in glob.glob(str(here)))
    if not files:
        near = get_close_matches(here.name, [f.name for f in here.parent.iterdir()], 3) if here.parent.is_dir() else []
        raise DataError(f"path {path}: no {ending} file there" + (f"; did you mean {', '.join(near)}?" if near else ""))
    return files


def open_text(file: Path) -> IO[str]:
    """UTF-8 text, unpacked where the name ends in .gz."""
    return (
        gzip.open(file, "rt", encoding="utf-8", newline="")
        if file.suffix == ".gz"
        else file.open(encoding="utf-8", newline="")
    )


def lines(file: Path) -> Iterator[tuple[int, str]]:
    """(number, line). Raises DataError for a file that is not text."""
    try:
        with open_text(file) as handle:
            yield from enumerate(handle, 1)
    except (UnicodeDecodeError, gzip.BadGzipFile, EOFError) as error:
        raise DataError(f"{file}: not readable as UTF-8 text: {error}") from error


def _jsonl(file: Path) -> Iterator[dict[str, Any]]:
    for number, line in lines(file):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError(
                f"{file}:{number}: not JSON: {error.msg} at column {error.colno} in {line[:60].strip()!r}; mend or "
                "delete the line"
            ) from error
        if not isinstance(row, dict):
            raise DataError(f"{file}:{number}: a row must be an object, got {type(row).__name__}")
        yield row


def _json(file: Path) -> Iterator[dict[str, Any]]:
    text = "".join(line for _, line in lines(file))
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(f"{file}:{error.lineno}: not JSON: {error.msg}") from error
    value = value.get("data") if isinstance(value, dict) else value
    if not isinstance(value, list) or not all(isinstance(row, dict) for row in value):
        raise DataError(f'{file}: must hold a list of objects, or {{"data": [...]}}')
    yield from value


def _csv(file: Path) -> Iterator[dict[str, Any]]:
    with open_text(file) as handle:
        rows = csv.reader(handle)
        header = next(rows, None)
        if not header:
            raise DataError(f"{file}: empty; the first line must name the columns")
        for row in rows:
            if row and len(row) != len(header):
                raise DataError(f"{file}:{rows.line_num}: {len(row)} fields, the header has {len(header)}")
            if row:
                yield dict(zip(header, row, strict=True))


def _parquet(file: Path) -> Iterator[dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        for batch in pq.ParquetFile(file).iter_batches():
            yield from batch.to_pylist()
    except pa.ArrowInvalid as error:
        raise DataError(f"{file}: not a parquet file: {error}") from error


READERS: dict[str, Read] = {"jsonl": _jsonl, "json": _json, "csv": _csv, "parquet": _parquet}
