"""Tables to ask about: seeded random ones, or the user's own CSV and JSONL files."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from data_mix import DataError
from data_mix.json_text import json_text, parse_json
from data_mix.sources.files import ending_of, lines, shown
from data_mix.sources.formats import csv_rows

Cell = int | float | str

TEXT = {
    "name": "Ada Ben Cara Dan Eva Finn Gina Hugo Ida Jon Kim Leo Mia Nils Olga Paul Rosa Sam Tina Vera Zoe".split(),
    "city": "Oslo Rome Lima Cairo Delhi Paris Tokyo Quito Dakar Perth Milan Berlin Accra Sofia Dublin Havana".split(),
    "color": "red blue green black white yellow brown pink gray orange".split(),
    "product": "lamp chair desk phone book shirt clock radio pen bag cup bike tent hat".split(),
    "country": "Chile Kenya Japan Spain India Egypt Peru Norway Italy Ghana Cuba Nepal".split(),
    "team": "Lions Bears Hawks Wolves Tigers Eagles Sharks Bulls Foxes Owls".split(),
    "animal": "cat dog horse goat sheep duck hen cow pig rabbit".split(),
    "month": "January March April May June July August October".split(),
}
INTEGER = {
    "age": (18, 80),
    "year": (1960, 2020),
    "points": (0, 99),
    "stock": (1, 500),
    "floor": (1, 30),
    "seats": (2, 400),
    "votes": (10, 999),
}
REAL = {"price": (1, 90), "weight": (1, 60), "score": (0, 10), "length": (1, 200)}
DATE = ("born", "opened", "sold", "joined")


@dataclass(frozen=True, kw_only=True)
class Table:
    """A small relation. Kinds: text, int, real, date."""

    columns: tuple[str, ...]
    kinds: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]

    @property
    def key(self) -> str:
        """Hash of the whole content: the table's id, and what its split follows from."""
        return hashlib.sha256(json_text([self.columns, self.rows]).encode()).hexdigest()[:16]

    def of_kind(self, *kinds: str) -> list[str]:
        """Columns of these kinds."""
        return [column for column, kind in zip(self.columns, self.kinds, strict=True) if kind in kinds]

    def values(self, column: str) -> list[Cell]:
        """All cells of a column, top to bottom."""
        place = self.columns.index(column)
        return [row[place] for row in self.rows]


def random_table(rng: Random, columns: tuple[int, int], rows: tuple[int, int]) -> Table:
    """A table with at least one text and one number column; the first text column's values are all different."""
    width, height = rng.randint(*columns), rng.randint(*rows)
    kinds = ["text", "int", *rng.choices(["text", "int", "real", "date"], weights=[4, 4, 2, 1], k=width - 2)]
    pools = {"text": list(TEXT), "int": list(INTEGER), "real": list(REAL), "date": list(DATE)}
    for pool in pools.values():
        rng.shuffle(pool)
    kinds = [kind if pools[kind][kinds[:place].count(kind) :] else "int" for place, kind in enumerate(kinds)]
    names = [pools[kind][kinds[:place].count(kind)] for place, kind in enumerate(kinds)]
    order = rng.sample(range(width), width)
    cells = [_column(names[i], kinds[i], height, rng, unique=i == 0) for i in order]
    return Table(
        columns=tuple(names[i] for i in order),
        kinds=tuple(kinds[i] for i in order),
        rows=tuple(zip(*cells, strict=True)),
    )


def _column(name: str, kind: str, height: int, rng: Random, unique: bool) -> list[Cell]:
    if kind == "text":
        pool = TEXT[name]
        return list(rng.sample(pool, height)) if unique and height <= len(pool) else rng.choices(pool, k=height)
    if kind == "int":
        return [rng.randint(*INTEGER[name]) for _ in range(height)]
    if kind == "real":
        low, high = REAL[name]
        return [round(rng.uniform(low, high), 1) for _ in range(height)]
    return [f"{rng.randint(1950, 2024)}-{rng.randint(1, 12):02d}-{rng.randint(1, 28):02d}" for _ in range(height)]


def user_tables(path: Path) -> list[Table]:
    """Tables of a CSV or JSONL file (one table a file), or of a folder of them, in the order of their names.

    Raises DataError with file:line for duplicate or empty column names, ragged rows, missing cells, no rows.
    """
    try:
        files = sorted(f for f in path.iterdir() if ending_of(f) in ("csv", "jsonl")) if path.is_dir() else [path]
        there = bool(files) and all(file.exists() for file in files)
    except (OSError, ValueError) as error:
        raise DataError(f"tables_path {shown(str(path))}: cannot be looked for: {error}") from error
    if not there:
        raise DataError(f"tables_path {shown(str(path))}: no .csv or .jsonl file there")
    return [_read(file) for file in files]


def _read(file: Path) -> Table:
    lines = list(_records(file))
    if len(lines) < 2:
        raise DataError(f"{file}: a table needs a header and at least one row")
    header = [str(name).strip() for name in lines[0][1]]
    for name in header:
        if not name or header.count(name) > 1:
            raise DataError(
                f"{file}:1: column name {name!r} is {'empty' if not name else 'there twice'}; every column needs a "
                "name of its own"
            )
    for number, cells in lines[1:]:
        if len(cells) != len(header):
            raise DataError(f"{file}:{number}: {len(cells)} cells, the header has {len(header)}")
        if any(cell is None or cell == "" for cell in cells):
            raise DataError(f"{file}:{number}: an empty cell; fill it or leave the row out")
    columns = [_typed([cells[i] for _, cells in lines[1:]]) for i in range(len(header))]
    return Table(
        columns=tuple(header),
        kinds=tuple(kind for kind, _ in columns),
        rows=tuple(zip(*(cells for _, cells in columns), strict=True)),
    )


def _records(file: Path) -> Iterator[tuple[int, list[Any]]]:
    """(line, cells), the header first."""
    if ending_of(file) == "csv":
        yield from csv_rows(file)
        return
    keys: list[str] = []
    for number, line in lines(file):
        row = parse_json(line.rstrip("\r\n"), str(file), number)
        if not isinstance(row, dict):
            raise DataError(f"{file}:{number}: a row must be an object, got {type(row).__name__}")
        if not keys:
            keys = list(row)
            yield 1, keys
        if list(row) != keys:
            raise DataError(f"{file}:{number}: keys {list(row)} differ from the first row's {keys}")
        yield number, list(row.values())


def _typed(cells: Sequence[Any]) -> tuple[str, list[Cell]]:
    """A column's kind, and its cells in it: int, else real, else text.

    What SQLite has no number for, larger than 64 bits or NaN, is text.
    """
    texts = [str(cell).strip() for cell in cells]
    for kind, convert in (("int", int), ("real", float)):
        try:
            numbers = [convert(text) for text in texts]
        except ValueError:
            continue
        if all(-(2.0**63) <= number < 2.0**63 for number in numbers):
            return kind, list(numbers)
    return "text", list(texts)
