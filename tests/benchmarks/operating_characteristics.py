"""Operating characteristics of the judge: how often each of its words is wrong, on made tables, beside what it promises.

    python -m tests.benchmarks.operating_characteristics [parts, default all] [--write]

Prints every cell and the table that stands in eval_hooks/README.md. Code 1 where a cell is out of its bound, where the
rule of before passes a cell that it is known to fail, or where the page holds another table; `--write` puts it there.
"""

import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from tests.benchmarks import (
    calibration_words,
    copied_items,
    few_flips,
    field_words,
    new_subjects,
    seed_spread,
    two_recipes,
    wave_looks,
    whole_runs,
)
from tests.benchmarks.cells import Cell, table_of

PAGE = Path(__file__).parents[2] / "eval_hooks" / "README.md"
CELLS: dict[str, Callable[[], Iterable[Cell]]] = {
    "calibration": calibration_words.cells,
    "waves": wave_looks.cells,
    "two recipes": two_recipes.cells,
    "few flips": few_flips.cells,
    "items needed": few_flips.power_cells,
    "whole runs": whole_runs.cells,
    "new subjects": new_subjects.cells,
    "copied items": copied_items.cells,
    "forgetting": field_words.forgetting_cells,
    "noise": field_words.noise_cells,
    "comparisons": field_words.comparison_cells,
    "seed spread": seed_spread.cells,
}
"""Those that take longest come first, since as many run at once as there are cores."""
TABLES: dict[str, Callable[[], str]] = {
    "few flips": few_flips.summary,
    "whole runs": whole_runs.price,
    "waves": wave_looks.summary,
    "new subjects": new_subjects.summary,
    "copied items": copied_items.summary,
    "calibration": calibration_words.summary,
    "forgetting": field_words.forgetting_summary,
    "noise": field_words.noise_summary,
    "comparisons": field_words.comparison_summary,
    "seed spread": seed_spread.summary,
    "two recipes": two_recipes.summary,
}
"""What stands on the page, between the marks of its name."""


def main() -> int:
    """Print all; 1 where something does not hold."""
    words, start = [word for word in sys.argv[1:] if word != "--write"], time.monotonic()
    if unknown := [word for word in words if word not in CELLS]:
        raise SystemExit(f"no such part: {', '.join(unknown)}; there are: {', '.join(CELLS)}")
    names = words or list(CELLS)
    with ProcessPoolExecutor() as pool:
        found = dict(zip(names, pool.map(of_part, names), strict=True))
    cells = [cell for own, _, _ in found.values() for cell in own]
    print(table_of(cells))
    wrong = [f"{cell.case}: {cell.what} {100 * cell.rate:.2f} %: {cell.trouble}" for cell in cells if cell.trouble]
    for name, (_, made, _) in found.items():
        if name in TABLES:
            print(f"\n{made}")
            if "--write" in sys.argv:
                PAGE.write_text(with_table(PAGE.read_text("utf-8"), name, made), "utf-8")
            if on_page(PAGE.read_text("utf-8"), name) != made:
                wrong.append(f"{PAGE}: another table of {name} stands there; --write puts this one")
    print("\nseconds: " + ", ".join(f"{name} {seconds:.0f}" for name, (_, _, seconds) in found.items()))
    print(f"{len(cells)} cells, {len(wrong)} wrong, {time.monotonic() - start:.0f} s", *wrong, sep="\n")
    return 1 if wrong else 0


def of_part(name: str) -> tuple[list[Cell], str, float]:
    """A part's cells, its table, and how many seconds both took."""
    begin = time.monotonic()
    cells = list(CELLS[name]())
    return cells, TABLES[name]() if name in TABLES else "", time.monotonic() - begin


def _parted(text: str, name: str) -> tuple[str, str, str]:
    first, last = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
    before, found, rest = text.partition(first)
    table, ended, after = rest.partition(last)
    if not (found and ended):
        raise ValueError(f"the page has no place for a table of this name, {first.strip()} to {last}")
    return before + first, table, last + after


def on_page(text: str, name: str) -> str:
    """The table of this name on the page. Raises ValueError where the page has no place for it."""
    return _parted(text, name)[1].removesuffix("\n")


def with_table(text: str, name: str, table: str) -> str:
    """The page with this table in the place of the one of its name. Raises ValueError where there is no place."""
    before, _, after = _parted(text, name)
    return f"{before}{table}\n{after}"


if __name__ == "__main__":
    sys.exit(main())
