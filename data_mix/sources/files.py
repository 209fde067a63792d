"""Files of rows: found by a path, a folder or a glob, opened, and read as lines of text."""

import glob
import gzip
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import islice
from pathlib import Path
from typing import IO

from data_mix import DataError
from data_mix.bad_rows import BadRowError

LONGEST = 64 << 20
"""Characters of a line, or of a field of CSV: a small .gz may unpack to one line of any length."""
LARGEST = 512 << 20
"""Characters of a file that is read in one piece."""
GZIP = b"\x1f\x8b"
"""What every gzip file begins with (RFC 1952, section 2.3.1), and no text."""
MOST = 100_000
"""Files of one pattern."""
UTF_16 = (b"\xff\xfe", b"\xfe\xff")
"""Byte order marks that are not UTF-8's."""
LOST = re.compile("[\udc80-\udcff\0]")
"""A byte that is no UTF-8, as Python's surrogateescape reads it, and NUL."""


@dataclass(frozen=True, kw_only=True)
class Files:
    """Which files."""

    path: str
    """A file, a folder or a glob."""
    n: int | None = None
    """At most this many rows, the first ones."""


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
    """Text without its byte order mark, unpacked where the name or the first bytes say gzip.

    Bytes that are no UTF-8 are kept as surrogates, which `unreadable` finds: one bad line does not end a file.
    """
    with file.open("rb") as handle:
        packed = file.suffix.lower() == ".gz" or handle.read(2) == GZIP
    with gzip.open(file) if packed else file.open("rb") as raw:
        if raw.read(2) in UTF_16:
            raise DataError(
                f"{file}:1: not readable as UTF-8: it is UTF-16; save it as UTF-8, or `iconv -f UTF-16 -t UTF-8`"
            )
    if packed:
        return gzip.open(file, "rt", encoding="utf-8-sig", errors="surrogateescape", newline="")
    return file.open(encoding="utf-8-sig", errors="surrogateescape", newline="")


@contextmanager
def reading(file: Path) -> Iterator[IO[str]]:
    """The file's text. Raises DataError where it cannot be opened or unpacked."""
    try:
        check_regular(file)
        with open_text(file) as handle:
            yield handle
    except (EOFError, zlib.error) as error:
        raise DataError(f"{file}: not readable: {error}; copy it again, whole") from error
    except OSError as error:  # what gzip says of a file that is none, too
        raise DataError(f"{file}: not readable: {error.strerror or error}") from error


def raw_lines(file: Path) -> Iterator[str]:
    """A file's lines, whatever ends them, as an editor counts them. Raises DataError for one longer than LONGEST."""
    with reading(file) as handle:
        number = 0
        while line := handle.readline(LONGEST + 1):
            number += 1
            if len(line) > LONGEST:
                raise DataError(f"{file}:{number}: a line of more than {LONGEST:,} characters; break it up")
            yield line


def unreadable(text: str) -> str | None:
    """Why a text of `raw_lines` is none, or None."""
    found = None if text.isascii() and "\0" not in text else LOST.search(text)
    if found is None:
        return None
    if found[0] == "\0":
        return "a NUL character; this is no text, or UTF-16: save it as UTF-8"
    byte, before = ord(found[0]) - 0xDC00, text[: found.start()][-20:]
    return (
        f"not readable as UTF-8: byte 0x{byte:02x} behind {before!r}; a character is cut, or the file is "
        "Windows-1252 or Latin-1: save it as UTF-8, or `iconv -f WINDOWS-1252 -t UTF-8`"
    )


def lines(file: Path) -> Iterator[tuple[int, str]]:
    """(number, line). Raises DataError as `raw_lines` does, and for a line that is no text."""
    for number, line in enumerate(raw_lines(file), 1):
        if problem := unreadable(line):
            raise BadRowError(f"{file}:{number}", problem)
        yield number, line


def whole(file: Path) -> str:
    """All of a file's text, lines ended by a line feed.

    Raises DataError for one that is not text, or unpacks to more than LARGEST.
    """
    with reading(file) as handle:
        text = handle.read(LARGEST + 1)
    if len(text) > LARGEST:
        raise DataError(f"{file}: more than {LARGEST:,} characters in one piece; write it as jsonl, a row a line")
    text = text.lstrip("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    if (problem := unreadable(text)) and (found := LOST.search(text)):
        raise DataError(f"{file}:{1 + text.count(chr(10), 0, found.start())}: {problem}")
    return text
