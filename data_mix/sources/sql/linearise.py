"""A table as text, in the two forms models are shown, and back again.

`rows`: `header: c1 | c2 row 1 : v11 | v12 row 2 : ...`, one row a line (TAPEX, Liu et al. 2022, arXiv:2107.07653).
`markdown`: a Markdown table. Both must be reversible: a cell or name that holds the separator or a line break is
refused.
"""

import re
from typing import Literal

from data_mix import DataError
from data_mix.sources.sql.tables import Cell, Table

Style = Literal["rows", "markdown"]


def cell_text(value: Cell) -> str:
    """A cell as written: numbers in their shortest exact decimal form (1.5, never 1.50), text as it is."""
    return f"{value:.10g}" if isinstance(value, float) else str(value)


def linearise(table: Table, style: Style) -> str:
    """The table as text.

    Raises DataError for a cell or column name with `|`, a line break, or surrounding white space.
    """
    for value in (*table.columns, *(cell for row in table.rows for cell in row)):
        text = cell_text(value)
        if "|" in text or "\n" in text or "\r" in text or text != text.strip() or not text:
            raise DataError(
                f"table {table.key}: cell {text!r} holds `|`, a line break or surrounding white space, which the "
                "linear form cannot carry"
            )
    rows = [" | ".join(map(cell_text, row)) for row in table.rows]
    header = " | ".join(table.columns)
    if style == "rows":
        return "\n".join([f"header: {header}", *(f"row {i} : {row}" for i, row in enumerate(rows, 1))])
    return "\n".join([f"| {header} |", "|" + " --- |" * len(table.columns), *(f"| {row} |" for row in rows)])


def parse(text: str) -> tuple[list[str], list[list[str]]]:
    """(column names, rows of cell texts) of the first linear table in a text, of either style."""
    lines = text.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(("header: ", "| ")))
    if lines[start].startswith("header: "):
        found = [re.match(r"row \d+ : (.*)", line) for line in lines[start + 1 :]]
        body = [match.group(1) for match in found if match]
        return lines[start].removeprefix("header: ").split(" | "), [row.split(" | ") for row in body]
    cells = [line[2:-2].split(" | ") for line in lines[start:] if line.startswith("| ")]
    return cells[0], cells[2:]  # the second line is the rule
