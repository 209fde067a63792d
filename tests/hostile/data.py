"""Data files of strangers."""

import gzip
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.hostile.folders import DEEP, ESCAPES

Make = Callable[[Path], tuple[str, Path]]
"""Writes a file into a folder; (source, file)."""


def jsonl(*lines: str | bytes) -> Make:
    """Lines as they are."""

    def make(folder: Path) -> tuple[str, Path]:
        file = folder / "rows.jsonl"
        file.write_bytes(b"\n".join(line.encode() if isinstance(line, str) else line for line in lines) + b"\n")
        return "jsonl", file

    return make


def chats(text: Any) -> Make:
    """Rows that a model could be trained on, with a text in them."""
    row = {"messages": [{"role": "user", "content": text}, {"role": "assistant", "content": text}]}
    return jsonl(*[json.dumps(row)] * 4)


def file(name: str, content: bytes, source: str) -> Make:
    """A file of bytes."""

    def make(folder: Path) -> tuple[str, Path]:
        (folder / name).write_bytes(content)
        return source, folder / name

    return make


def piped(folder: Path) -> tuple[str, Path]:
    """A pipe that nobody writes to."""
    os.mkfifo(folder / "rows.jsonl")
    return "jsonl", folder / "rows.jsonl"


def device(folder: Path) -> tuple[str, Path]:
    """A device without an end."""
    return "jsonl", Path("/dev/zero")


def bomb(folder: Path) -> tuple[str, Path]:
    """256 MB in one line, of 256 KB."""
    with gzip.open(folder / "rows.jsonl.gz", "wb", compresslevel=9) as handle:
        handle.write(b'{"text": "')
        for _ in range(256):
            handle.write(b"a" * 1_000_000)
        handle.write(b'"}\n')
    return "jsonl", folder / "rows.jsonl.gz"


DATA: dict[str, Make] = {
    "100,000 brackets in a row": jsonl(DEEP + "]" * 100_000),
    "a deep row": jsonl('{"messages":' + "[" * 50_000 + "]" * 50_000 + "}"),
    "a number of 5,000 digits": jsonl('{"messages": ' + "9" * 5000 + "}"),
    "half of a character": chats("\ud800 and \udfff"),
    "escapes of the terminal": chats(ESCAPES),
    "a NUL": chats("a\x00b"),
    "bytes that are no text": jsonl(b'{"messages": "\xff\xfe"}'),
    "rows of other types": jsonl("[1, 2]"),
    "messages of other types": jsonl('{"messages": {"a": 1}}', '{"messages": [1]}', '{"messages": [{"role": 1}]}'),
    "NaN and Infinity": jsonl('{"messages": NaN}', '{"messages": Infinity}'),
    "a pipe": piped,
    "a device": device,
    "a gzip bomb": bomb,
    "no gzip": file("rows.jsonl.gz", b"no gzip at all", "jsonl"),
    "gzip cut short": file("rows.jsonl.gz", gzip.compress(b'{"text": "x"}\n' * 999)[:40], "jsonl"),
    "a CSV with a NUL": file("rows.csv", b"prompt,completion\na\x00b,c\n", "csv"),
    "a CSV with a cell of 200 KB": file("rows.csv", b"prompt,completion\n" + b"a" * 200_000 + b',"b\n', "csv"),
    "a broken parquet": file("rows.parquet", b"PAR1" + b"\x00" * 60 + b"PAR1", "parquet"),
    "JSON of 100,000 brackets": file("rows.json", DEEP.encode(), "json"),
    "nothing": file("rows.jsonl", b"", "jsonl"),
}
