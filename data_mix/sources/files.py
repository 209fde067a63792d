"""Rows from files: jsonl, json, csv (plain or .gz) and parquet; a file, a folder or a glob."""

import csv
import glob
import gzip
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import islice
from pathlib import Path
from random import Random
from typing import IO, Any

from data_mix import DataError
from data_mix.json_text import parse_json

LONGEST = 64 << 20
"""Characters of a line, or of a field of CSV: a small .gz may unpack to one line of any length."""
LARGEST = 512 << 20
"""Characters of a file that is read in one piece."""
GZIP = b"\x1f\x8b"
"""What every gzip file begins with (RFC 1952, section 2.3.1), and no text."""
MOST = 100_000
"""Files of one pattern."""
BATCH = 1000
"""Rows of a Parquet file in memory at a time; each may be long."""


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
    """The files a path means, in the order of their names.

    Raises DataError naming the nearest where there are none, and for what is no file: a pipe would wait for ever.
    """
    if not path:
        raise DataError("path '': empty; name a file, a folder or a pattern")
    try:
        here = Path(path).expanduser()
        files = _found(here, ending)
        near = [f.name for f in here.parent.iterdir()] if not files and here.parent.is_dir() else []
    except DataError:
        raise
    except (OSError, RuntimeError, ValueError) as error:  # a name too long, `~nobody`, a NUL in it
        raise DataError(f"path {shown(path)}: cannot be looked for: {error}") from error
    if not files:
        close = get_close_matches(here.name, near, 3)
        raise DataError(
            f"path {shown(path)}: no {ending} file there" + (f"; did you mean {', '.join(close)}?" if close else "")
        )
    for file in files:
        check_regular(file)
    return files


def _found(here: Path, ending: str) -> list[Path]:
    if here.is_dir():
        return sorted(f for f in here.iterdir() if ending_of(f) == ending)
    if here.exists():
        return [here]
    names = sorted(islice(glob.iglob(str(here)), MOST + 1))
    if len(names) > MOST:
        raise DataError(f"path {shown(str(here))}: more than {MOST:,} files; name fewer")
    return [Path(name) for name in names]


def ending_of(file: Path) -> str:
    """What a file's name says of its content, .gz aside: `csv` of a.csv, A.CSV and a.csv.gz."""
    return Path(file.name.lower().removesuffix(".gz")).suffix.removeprefix(".")


def check_regular(file: Path) -> None:
    """Raise DataError for a device, a pipe or a folder in a file's place."""
    if not file.is_file():
        raise DataError(f"{file}: no regular file (a folder, a pipe or a device); name a file")


def shown(text: str) -> str:
    """A text from a recipe or a file as a message shows it, cut where it is long."""
    return text if len(text) <= 200 and text.isprintable() else f"{ascii(text)[:200]}"


def open_text(file: Path) -> IO[str]:
    """UTF-8 text, with or without a byte order mark, unpacked where the name or the first bytes say gzip."""
    with file.open("rb") as handle:
        packed = file.suffix.lower() == ".gz" or handle.read(2) == GZIP
    return (
        gzip.open(file, "rt", encoding="utf-8-sig", newline="")
        if packed
        else file.open(encoding="utf-8-sig", newline="")
    )


@contextmanager
def reading(file: Path) -> Iterator[IO[str]]:
    """The file's text. Raises DataError where it cannot be opened, or is no text."""
    try:
        check_regular(file)
        with open_text(file) as handle:
            yield handle
    except (UnicodeDecodeError, EOFError, zlib.error) as error:
        raise DataError(f"{file}: not readable as UTF-8 text: {error}") from error
    except OSError as error:  # what gzip says of a file that is none, too
        raise DataError(f"{file}: not readable: {error.strerror or error}") from error


def lines(file: Path) -> Iterator[tuple[int, str]]:
    """(number, line). Raises DataError for a file that is not text, and a line longer than LONGEST."""
    with reading(file) as handle:
        number = 0
        while line := handle.readline(LONGEST + 1):
            number += 1
            if len(line) > LONGEST:
                raise DataError(f"{file}:{number}: a line of more than {LONGEST:,} characters; break it up")
            if "\0" in line:
                raise DataError(f"{file}:{number}: a NUL character; this is no text")
            yield number, line


def whole(file: Path) -> str:
    """All of a file's text, lines ended by a line feed.

    Raises DataError for one that is not text, or unpacks to more than LARGEST.
    """
    with reading(file) as handle:
        text = handle.read(LARGEST + 1)
    if len(text) > LARGEST:
        raise DataError(f"{file}: more than {LARGEST:,} characters in one piece; write it as jsonl, a row a line")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _jsonl(file: Path) -> Iterator[dict[str, Any]]:
    for number, line in lines(file):
        if line.strip():
            yield _row(parse_json(line.rstrip("\r\n"), str(file), number), f"{file}:{number}")


def _row(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise DataError(f"{where}: a row must be an object, got {type(value).__name__}")
    return value


def _json(file: Path) -> Iterator[dict[str, Any]]:
    value = parse_json(whole(file), str(file), 1)
    value = value.get("data") if isinstance(value, dict) else value
    if not isinstance(value, list) or not all(isinstance(row, dict) for row in value):
        raise DataError(f'{file}: must hold a list of objects, or {{"data": [...]}}')
    yield from value


def _csv(file: Path) -> Iterator[dict[str, Any]]:
    rows = csv_rows(file)
    _, header = next(rows, (0, []))
    if not header:
        raise DataError(f"{file}: empty; the first line must name the columns")
    if twice := [name for name in header if header.count(name) > 1]:
        raise DataError(f"{file}:1: column {twice[0]!r} is there twice; every column needs a name of its own")
    for number, row in rows:
        if len(row) != len(header):
            raise DataError(f"{file}:{number}: {len(row)} fields, the header has {len(header)}")
        yield dict(zip(header, row, strict=True))


def csv_rows(file: Path) -> Iterator[tuple[int, list[str]]]:
    """(line, fields) of a CSV file, without empty lines. Raises DataError for what is no CSV."""
    csv.field_size_limit(LONGEST)  # of the whole process; its default refuses a text of 131,072 characters
    rows = csv.reader(line for _, line in lines(file))
    try:
        yield from ((rows.line_num, row) for row in rows if row)
    except csv.Error as error:
        raise DataError(f"{file}:{rows.line_num}: not CSV: {error}; is a quote open?") from error


def _parquet(file: Path) -> Iterator[dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    check_regular(file)
    try:
        with file.open("rb") as handle, pq.ParquetFile(handle) as table:
            if twice := [name for name in table.schema_arrow.names if table.schema_arrow.names.count(name) > 1]:
                raise DataError(f"{file}: column {twice[0]!r} is there twice; every column needs a name of its own")
            for batch in table.iter_batches(BATCH):
                yield from batch.to_pylist()
    except (pa.ArrowException, OSError, UnicodeDecodeError, OverflowError) as error:
        raise DataError(f"{file}: not a parquet file: {' '.join(str(error).split())[:300]}") from error


READERS: dict[str, Read] = {"jsonl": _jsonl, "json": _json, "csv": _csv, "parquet": _parquet}
