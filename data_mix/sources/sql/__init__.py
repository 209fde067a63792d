"""SQL execution: an endless, exactly right generator of (table, query) -> result rows.

Liu et al. 2023, arXiv:2304.07995, "From Zero to Hero: Examining the Power of Symbolic Tasks in Instruction Tuning": the
model acts as the SQL engine; the target is what a real one returns. Here for chat models: a user turn with table and
query, the result as the answer.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, Literal

from data_mix import DataError
from data_mix.sources.sql.execute import run
from data_mix.sources.sql.linearise import Style, cell_text, linearise
from data_mix.sources.sql.skeletons import EASY, HELD_OUT, SKELETONS
from data_mix.sources.sql.tables import Cell, Table, random_table, user_tables
from data_mix.splits import Split, split_of_hash

WORDINGS = (
    "Run the SQL query on the table. Give only the result.",
    "Act as the SQL engine: what does the query return?",
    "Execute this query on the table and answer with its result.",
    "Here is a table and a SQL query. Write the result of the query.",
)
TRIES = 200
"""Draws in a row without a usable row before giving up."""


@dataclass(frozen=True, kw_only=True)
class Sql:
    """The generator's settings."""

    split: Split = "train"
    """No table is in two splits."""
    n: int = 2000
    """Rows."""
    seed: int = 0
    """The same settings and seed give the same bytes."""
    skeletons: tuple[str, ...] = ()
    """Shapes of query (`select_where`, `order_limit`, ...); empty means all, `easy` the four a tiny model can learn."""
    holdout: Literal["table", "table_and_skeleton"] = "table"
    """What the splits do not share: tables, or tables and shapes of query."""
    tables_path: str | None = None
    """Your own tables: a CSV or JSONL file, or a folder of them; without it random ones."""
    min_columns: int = 3
    max_columns: int = 6
    min_rows: int = 4
    max_rows: int = 20
    style: Style = "rows"
    """How a table is written: `header: a | b` and numbered rows, or a Markdown table."""
    wordings: int = len(WORDINGS)
    """How many of the instruction's wordings are used."""
    max_answer_chars: int = 80
    max_prompt_chars: int = 2000

    def __post_init__(self) -> None:
        """Refuse settings that cannot give rows."""
        if unknown := [name for name in self.skeletons if name not in (*SKELETONS, "easy")]:
            raise ValueError(f"skeletons {unknown}: no such shapes; there are: easy, {', '.join(SKELETONS)}")
        if (
            self.n < 1
            or not 2 <= self.min_columns <= self.max_columns <= 6
            or not 1 <= self.min_rows <= self.max_rows <= 24
        ):
            raise ValueError(
                f"n must be above 0, columns 2 to 6 and rows 1 to 24, each minimum at most its maximum; "
                f"got n {self.n}, "
                f"columns {self.min_columns} to {self.max_columns}, rows {self.min_rows} to {self.max_rows}"
            )
        if not 1 <= self.wordings <= len(WORDINGS):
            raise ValueError(f"wordings must be 1 to {len(WORDINGS)}, got {self.wordings}")


def rows(cfg: Sql, rng: Random) -> Iterator[dict[str, Any]]:
    """N rows {prompt, completion (chat messages), table_id, sql, skeleton, table}, no (table, query) pair twice.

    The generator's own seed decides, so that a split is the same wherever it is asked for. Raises DataError where a
    user's tables give too few rows.
    """
    rng = Random(f"sql/{cfg.split}/{cfg.seed}")
    own = (
        [table for table in user_tables(Path(cfg.tables_path)) if split_of(table) == cfg.split]
        if cfg.tables_path
        else None
    )
    if own == []:
        raise DataError(
            f"source sql: no table of {cfg.tables_path} falls into split {cfg.split} (tables are shared out by a "
            "hash); give more tables"
        )
    names = allowed(cfg)
    seen: set[tuple[str, str]] = set()
    failures = 0
    while len(seen) < cfg.n:
        table = rng.choice(own) if own else _table(cfg, rng)
        name = rng.choice(names)
        row = _row(cfg, table, name, rng)
        if row is None or (table.key, row["sql"]) in seen:
            failures += 1
            if failures > TRIES * len(names):
                raise DataError(
                    f"source sql: only {len(seen)} of {cfg.n} different rows can be made from these tables and "
                    "skeletons; lower n or give more"
                )
            continue
        failures = 0
        seen.add((table.key, row["sql"]))
        yield row


def allowed(cfg: Sql) -> Sequence[str]:
    """Names of the shapes a split may use, in the table's order."""
    chosen = [
        name
        for name in SKELETONS
        if not cfg.skeletons or name in cfg.skeletons or ("easy" in cfg.skeletons and name in EASY)
    ]
    if cfg.holdout == "table":
        return chosen
    held = {name for names in HELD_OUT.values() for name in names}
    mine = [name for name in chosen if (name in HELD_OUT[cfg.split] if cfg.split in HELD_OUT else name not in held)]
    if not mine:
        raise DataError(
            f"source sql: holdout table_and_skeleton leaves split {cfg.split} no skeleton of {chosen}; name more "
            "skeletons or use holdout: table"
        )
    return mine


def split_of(table: Table) -> Split:
    """A table's split, from its content alone."""
    return split_of_hash(table.key)


def _table(cfg: Sql, rng: Random) -> Table:
    while True:
        table = random_table(rng, (cfg.min_columns, cfg.max_columns), (cfg.min_rows, cfg.max_rows))
        if split_of(table) == cfg.split:
            return table


def _row(cfg: Sql, table: Table, name: str, rng: Random) -> dict[str, Any] | None:
    """One row, or None where the shape does not fit the table or the result is empty, NULL or too long."""
    found = query(table, name, rng)
    if found is None:
        return None
    sql, answer = found
    prompt = f"{WORDINGS[rng.randrange(cfg.wordings)]}\n{linearise(table, cfg.style)}\nquery: {sql}"
    if len(answer) > cfg.max_answer_chars or len(prompt) > cfg.max_prompt_chars:
        return None
    return {
        "prompt": [{"role": "user", "content": prompt}],
        "completion": [{"role": "assistant", "content": answer}],
        "table_id": table.key,
        "sql": sql,
        "skeleton": name,
        "table": {
            "columns": list(table.columns),
            "kinds": list(table.kinds),
            "rows": [list(row) for row in table.rows],
        },
    }


def query(table: Table, name: str, rng: Random) -> tuple[str, str] | None:
    """(query, result as text) of a shape on a table; None where it does not fit, or the result is empty or NULL."""
    made = SKELETONS[name](table, rng)
    if made is None:
        return None
    sql = made.sql("sqlite")
    answer = answer_text(run(table, sql))
    return None if answer is None else (sql, answer)


def answer_text(result: Sequence[Sequence[Cell | None]]) -> str | None:
    """All cells of a result joined by `, `; None where it is empty or holds NULL.

    Averages are rounded to 4 decimals.
    """
    cells = [cell for row in result for cell in row]
    if not cells or any(cell is None for cell in cells):
        return None
    return ", ".join(
        cell_text(round(cell, 4) if isinstance(cell, float) else cell) for cell in cells if cell is not None
    )
