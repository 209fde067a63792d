"""Files of somebody who wishes ill, or has had an accident; made by code, small on disk."""

import gzip
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path

DIGITS = "9" * 5000
DEEP = "[" * 100_000 + "]" * 100_000
NESTED = "[" * 500 + "]" * 500


def text(content: str) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(content.encode("utf-8", "surrogatepass")) and None


def raw(content: bytes) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(content) and None


def of_one_line(ending: str) -> Callable[[Path], None]:
    """A gigabyte of one line in a megabyte."""

    def make(path: Path) -> None:
        with gzip.open(path, "wb", compresslevel=1) as handle:
            handle.write(b'{"prompt": "' if ending == "jsonl" else b'subject,idx,question\na,0,"')
            for _ in range(1024):
                handle.write(MEBIBYTE)

    return make


MEBIBYTE = b"a" * (1 << 20)
PACKED = gzip.compress(b'{"prompt": "a", "completion": "b"}\n' * 1000)
JSONL: Mapping[str, Callable[[Path], None]] = {
    "deep": text(f'{{"prompt": {DEEP}}}\n'),
    "nested": text(f'{{"prompt": {NESTED}}}\n'),
    "digits": text(f'{{"prompt": "a", "completion": "b", "n": {DIGITS}}}\n'),
    "no number": text('{"prompt": "a", "completion": "b", "n": NaN}\n'),
    "infinite": text('{"prompt": "a", "completion": "b", "n": -Infinity}\n'),
    "twice": text('{"prompt": "a", "completion": "b", "prompt": "c"}\n'),
    "half": text('{"prompt": "a", "completion": "\\ud800"}\n'),
    "half key": text('{"prompt": "a", "completion": "b", "\\udfff": 1}\n'),
    "raw half": text('{"prompt": "\ud800", "completion": "b"}\n'),
    "utf-16": raw('{"prompt": "a"}\n'.encode("utf-16")),
    "latin": raw(b'{"prompt": "\xe9"}\n'),
    "nul": raw(b"\0" * 100),
    "binary": raw(bytes(range(256)) * 10),
    "list": text("[1, 2]\n"),
    "number": text("3\n"),
}
CSV: Mapping[str, Callable[[Path], None]] = {
    "open quote": text('prompt,completion\n"a,b\n' + "x\n" * 10),
    "ragged": text("prompt,completion\na\n"),
    "twice": text("prompt,prompt\na,b\n"),
    "latin": raw(b"prompt,completion\n\xe9,b\n"),
    "utf-16": raw("prompt,completion\na,b\n".encode("utf-16")),
    "nul": raw(b"\0" * 100),
    "empty": raw(b""),
}
JSON: Mapping[str, Callable[[Path], None]] = {
    "deep": text(DEEP),
    "nested": text(f'[{{"prompt": {NESTED}}}]'),
    "digits": text(f'[{{"prompt": {DIGITS}}}]'),
    "half": text('[{"prompt": "\\ud800", "completion": "b"}]'),
    "number": text("3"),
    "rows are none": text("[1]"),
    "no number": text('[{"prompt": NaN}]'),
    "latin": raw(b'[{"prompt": "\xe9"}]'),
}
GZ: Mapping[str, Callable[[Path], None]] = {
    "no gzip": raw(b"prompt,completion\na,b\n"),
    "torn": raw(PACKED[: len(PACKED) // 2]),
    "broken inside": raw(PACKED[:20] + b"\xff" * 20 + PACKED[40:]),
    "header alone": raw(PACKED[:10]),
    "bad sum": raw(PACKED[:-8] + b"\0" * 8),
}


def _parquet(path: Path) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"prompt": ["a"] * 500, "completion": ["b"] * 500}), path)
    return path.read_bytes()


def parquet(change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(change(_parquet(path))) and None


def flipped(at: int) -> Callable[[bytes], bytes]:
    return lambda whole: whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :]


def no_text(path: Path) -> None:
    """A column of text whose bytes are none."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    bytes_ = pa.array([b"\xff\xfe"], pa.binary())
    pq.write_table(pa.table({"prompt": bytes_.view(pa.string()), "completion": ["b"]}), path)


def twice(path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"])], names=["prompt", "prompt"]), path)


PARQUET: Mapping[str, Callable[[Path], None]] = {
    "empty": raw(b""),
    "text": raw(b"prompt,completion\n"),
    "magic alone": raw(b"PAR1" * 3),
    "torn": parquet(lambda whole: whole[: len(whole) // 2]),
    "no tail": parquet(lambda whole: whole[:-4]),
    "footer of nowhere": parquet(lambda whole: whole[:-8] + b"\xff\xff\xff\x7fPAR1"),
    "page": parquet(flipped(8)),
    "footer": parquet(lambda whole: whole[:-60] + b"\xff" * 50 + whole[-10:]),
    "no text": no_text,
    "twice": twice,
}


def fifo(path: Path) -> None:
    """A pipe that nobody writes to."""
    os.mkfifo(path)


def device(path: Path) -> None:
    """Zeros without end."""
    path.symlink_to("/dev/zero")


def circle(path: Path) -> None:
    """A link to itself."""
    path.symlink_to(path)


PLACES: Mapping[str, Callable[[Path], None]] = {"fifo": fifo, "device": device, "circle": circle}
FOLDER_JSON: Mapping[str, bytes] = {
    "deep": DEEP.encode(),
    "nested": NESTED.encode(),
    "digits": f'{{"step": {DIGITS}}}'.encode(),
    "torn": b'{"step": ',
    "list": b"[1]",
    "text": b'"x"',
    "utf-16": json.dumps({"step": 1}).encode("utf-16-le"),
    "binary": bytes(range(128, 256)),
}
"""In a JSON file's place in a run folder."""
