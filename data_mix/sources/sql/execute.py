"""Running a query on a table, in a real SQL engine that may only read."""

import sqlite3
import time
from collections.abc import Sequence

import sqlglot
from sqlglot import exp

from data_mix import DataError
from data_mix.sources.sql.tables import Cell, Table

TABLE = "t"
TYPES = {"int": "INTEGER", "real": "REAL", "text": "TEXT", "date": "TEXT"}
LIMIT_S = 2.0
ALLOWED = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION}


class Engine:
    """One table in an in-memory database that refuses everything but reading, for at most two seconds a query."""

    def __init__(self, table: Table) -> None:
        self.connection = sqlite3.connect(":memory:")
        columns = ", ".join(
            f"{quote(name)} {TYPES[kind]}" for name, kind in zip(table.columns, table.kinds, strict=True)
        )
        self.connection.execute(f"CREATE TABLE {TABLE} ({columns})")
        self.connection.executemany(f"INSERT INTO {TABLE} VALUES ({', '.join('?' * len(table.columns))})", table.rows)
        self.connection.set_authorizer(
            lambda action, *_: sqlite3.SQLITE_OK if action in ALLOWED else sqlite3.SQLITE_DENY
        )

    def run(self, sql: str) -> list[tuple[Cell | None, ...]]:
        """All result rows.

        Raises DataError for anything but one SELECT, for a query SQLite refuses, or one that takes too long.
        """
        parsed = sqlglot.parse(sql, read="sqlite")
        if len(parsed) != 1 or not isinstance(parsed[0], exp.Select):
            raise DataError(f"query {sql!r}: only a single SELECT may run")
        deadline = time.monotonic() + LIMIT_S
        self.connection.set_progress_handler(lambda: int(time.monotonic() > deadline), 10_000)
        try:
            return self.connection.execute(sql).fetchall()
        except sqlite3.Error as error:
            raise DataError(f"query {sql!r}: {error}") from error

    def close(self) -> None:
        """Let the database go."""
        self.connection.close()


def quote(name: str) -> str:
    """A column name as SQL: bare where it can be."""
    return exp.column(name, quoted=not name.isidentifier()).sql("sqlite")


def run(table: Table, sql: str) -> Sequence[tuple[Cell | None, ...]]:
    """Result rows of one query on one table."""
    engine = Engine(table)
    try:
        return engine.run(sql)
    finally:
        engine.close()
