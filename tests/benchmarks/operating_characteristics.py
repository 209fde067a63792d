"""Operating characteristics of the judge: how often each of its words is wrong, on made tables, beside what it promises.

    python -m tests.benchmarks.operating_characteristics [parts, default all] [--write]

Prints every cell and the table that stands in eval_hooks/README.md. Code 1 where a cell is out of its bound, where the
rule of before passes a cell that it is known to fail, or where the page holds another table; `--write` puts it there.
"""

import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from tests.benchmarks import few_flips
from tests.benchmarks.cells import Cell, table_of

PAGE = Path(__file__).parents[2] / "eval_hooks" / "README.md"
CELLS: dict[str, Callable[[], Iterable[Cell]]] = {"few flips": few_flips.cells, "items needed": few_flips.power_cells}
TABLES: dict[str, Callable[[], str]] = {"few flips": few_flips.summary}
"""What stands on the page, between the marks of its name."""


def main() -> int:
    """Print all; 1 where something does not hold."""
    words, start = [word for word in sys.argv[1:] if word != "--write"], time.monotonic()
    if unknown := [word for word in words if word not in CELLS]:
        raise SystemExit(f"no such part: {', '.join(unknown)}; there are: {', '.join(CELLS)}")
    names = words or list(CELLS)
    cells = [cell for name in names for cell in CELLS[name]()]
    print(table_of(cells))
    wrong = [f"{cell.case}: {cell.what} {100 * cell.rate:.2f} %: {cell.trouble}" for cell in cells if cell.trouble]
    for name in names:
        if name in TABLES:
            print(f"\n{(made := TABLES[name]())}")
            if "--write" in sys.argv:
                PAGE.write_text(with_table(PAGE.read_text("utf-8"), name, made), "utf-8")
            if on_page(PAGE.read_text("utf-8"), name) != made:
                wrong.append(f"{PAGE}: another table of {name} stands there; --write puts this one")
    print(f"\n{len(cells)} cells, {len(wrong)} wrong, {time.monotonic() - start:.0f} s", *wrong, sep="\n")
    return 1 if wrong else 0


def _marks(name: str) -> tuple[str, str]:
    return f"<!-- {name} -->\n", f"\n<!-- end of {name} -->"


def on_page(text: str, name: str) -> str:
    """The table of this name on the page; empty where there is none."""
    first, last = _marks(name)
    return text.partition(first)[2].partition(last)[0]


def with_table(text: str, name: str, table: str) -> str:
    """The page with this table in the place of the one of its name."""
    first, last = _marks(name)
    before, _, rest = text.partition(first)
    return before + first + table + last + rest.partition(last)[2]


if __name__ == "__main__":
    sys.exit(main())
