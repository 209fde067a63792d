"""Preference pairs of SQL: the right result, and that of another query of the same shape on the same table.

Both queries are drawn in the same way and either may be the one that is asked, so a result's length, style and kind say
nothing of which one it is: to prefer the right one, the query has to be run.
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from random import Random
from typing import Any

from data_mix.sources.sql import TRIES, Sql, query
from data_mix.sources.sql import rows as sql_rows
from data_mix.sources.sql.tables import Table

MOST = 100
"""Queries drawn for a pair, at most."""
UNFORMED = str.maketrans("0123456789", "0" * 10)


def rows(cfg: Sql, rng: Random) -> Iterator[dict[str, Any]]:
    """N rows {prompt, chosen, rejected} with the sql source's own columns; a query without a like one is left out.

    Raises DataError where a user's tables give too few.
    """
    return islice(_pairs(replace(cfg, n=MOST * cfg.n), rng), cfg.n)


def _pairs(cfg: Sql, rng: Random) -> Iterator[dict[str, Any]]:
    draw = Random(f"sql_pairs/{cfg.split}/{cfg.seed}")
    for row in sql_rows(cfg, rng):
        rejected = _other(row, draw)
        if rejected is not None:
            rest = {key: value for key, value in row.items() if key != "completion"}
            yield {**rest, "chosen": row["completion"], "rejected": [{"role": "assistant", "content": rejected}]}


def _other(row: dict[str, Any], rng: Random) -> str | None:
    """The result of a query of the same shape on the same table that differs in what it says, not in its form."""
    table = Table(
        columns=tuple(row["table"]["columns"]),
        kinds=tuple(row["table"]["kinds"]),
        rows=tuple(tuple(cells) for cells in row["table"]["rows"]),
    )
    right = row["completion"][0]["content"]
    for _ in range(TRIES):
        made = query(table, row["skeleton"], rng)
        if made and made[1] != right and form(made[1]) == form(right):
            return made[1]
    return None


def form(answer: str) -> tuple[str, ...]:
    """What can be seen of an answer without knowing it: its cells' kinds (text, whole number, other number)."""
    kinds = []
    for cell in answer.split(", "):
        plain = cell.removeprefix("-").translate(UNFORMED)
        kinds.append("int" if set(plain) == {"0"} else "real" if set(plain) <= {"0", "."} else "text")
    return tuple(kinds)
