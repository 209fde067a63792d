"""SQL rows: exact, reproducible, with splits that share nothing; bad tables refused by file and line."""

import itertools
import json
import sqlite3
from pathlib import Path
from random import Random
from typing import Any

import pytest

from data_mix import DataError
from data_mix.sources.sql import Sql, answer_text, rows, split_of
from data_mix.sources.sql.execute import run
from data_mix.sources.sql.linearise import linearise, parse
from data_mix.sources.sql.skeletons import HELD_OUT, SKELETONS
from data_mix.sources.sql.tables import Table, random_table, user_tables


def made(**settings: Any) -> list[dict[str, Any]]:
    return list(rows(Sql(**settings), Random(0)))


def executed_from_the_prompt(row: dict[str, Any]) -> str | None:
    """Read table and query back from the prompt's text, run them in a fresh SQLite, write the result as an answer."""
    prompt = row["prompt"][-1]["content"]
    columns, body = parse(prompt)
    kinds = row["table"]["kinds"]
    types = {"int": "INTEGER", "real": "REAL", "text": "TEXT", "date": "TEXT"}
    connection = sqlite3.connect(":memory:")
    connection.execute(f"CREATE TABLE t ({', '.join(f'{c} {types[k]}' for c, k in zip(columns, kinds, strict=True))})")
    connection.executemany(f"INSERT INTO t VALUES ({', '.join('?' * len(columns))})", body)
    return answer_text(connection.execute(prompt.rpartition("query: ")[2]).fetchall())


@pytest.mark.parametrize("style", ["rows", "markdown"])
@pytest.mark.parametrize("skeleton", SKELETONS)
def test_every_answer_is_what_the_engine_gives_for_the_prompt(skeleton: str, style: str) -> None:
    for row in made(n=40, skeletons=(skeleton,), style=style, seed=3):
        assert row["skeleton"] == skeleton
        assert executed_from_the_prompt(row) == row["completion"][0]["content"]


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others() -> None:
    first, again, other = (json.dumps(made(n=30, seed=seed)) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_splits_share_no_table_and_by_choice_no_skeleton() -> None:
    for holdout in ("table", "table_and_skeleton"):
        splits = {s: made(n=120, split=s, holdout=holdout) for s in ("train", "validation", "test")}
        for a, b in itertools.combinations(splits.values(), 2):
            assert not {r["table_id"] for r in a} & {r["table_id"] for r in b}
            if holdout == "table_and_skeleton":
                assert not {r["skeleton"] for r in a} & {r["skeleton"] for r in b}
    assert HELD_OUT.keys() == {"validation", "test"}


def test_no_pair_of_table_and_query_comes_twice() -> None:
    pairs = [(r["table_id"], r["sql"]) for r in made(n=400, skeletons=("easy",), max_columns=3, max_rows=4)]
    assert len(set(pairs)) == 400


def test_order_limit_never_leaves_a_tie_to_the_engine() -> None:
    """The order column's extreme value occurs once in the table."""
    for row in made(n=60, skeletons=("order_limit",)):
        key = row["sql"].split("ORDER BY ")[1].split()[0].strip('"')
        values = [cells[row["table"]["columns"].index(key)] for cells in row["table"]["rows"]]
        assert values.count(max(values) if "DESC" in row["sql"] else min(values)) == 1


@pytest.mark.parametrize("style", ["rows", "markdown"])
def test_a_table_comes_back_from_its_text(style: str) -> None:
    for seed in range(30):
        table = random_table(Random(seed), (2, 6), (1, 20))
        columns, body = parse(linearise(table, style))
        assert columns == list(table.columns)
        assert len(body) == len(table.rows) and body[0][0] == linearise(table, "rows").split(" : ")[1].split(" | ")[0]


def test_a_cell_with_the_separator_is_refused() -> None:
    table = Table(columns=("a", "b"), kinds=("text", "int"), rows=(("x | y", 1),))
    with pytest.raises(DataError, match=r"x \| y"):
        linearise(table, "rows")


@pytest.mark.parametrize(
    "query",
    ["DELETE FROM t", "SELECT 1; DROP TABLE t", "PRAGMA user_version", "ATTACH 'x' AS y", "SELECT load_extension('x')"],
)
def test_only_one_reading_select_may_run(query: str) -> None:
    table = Table(columns=("a",), kinds=("int",), rows=((1,),))
    with pytest.raises(DataError):
        run(table, query)


def test_a_query_that_takes_too_long_is_stopped() -> None:
    table = Table(columns=("a",), kinds=("int",), rows=tuple((i,) for i in range(300)))
    joined = ", ".join(f"t AS t{i}" for i in range(5))
    with pytest.raises(DataError, match="interrupted"):
        run(table, f"SELECT COUNT(*) FROM {joined} WHERE t0.a + t1.a + t2.a + t3.a + t4.a < 0")


def test_a_users_own_tables(tmp_path: Path) -> None:
    for i in range(12):
        (tmp_path / f"t{i}.csv").write_text("name,age\n" + "".join(f"p{i}{j},{20 + j}\n" for j in range(5)))
    tables = user_tables(tmp_path)
    assert tables[0].kinds == ("text", "int")
    there = {split_of(table) for table in tables}
    for row in made(n=10, split="train", tables_path=str(tmp_path), skeletons=("easy",)):
        assert row["table"]["columns"] == ["name", "age"]
        assert executed_from_the_prompt(row) == row["completion"][0]["content"]
    assert "train" in there


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "x,x\n1,2\n", r"a\.csv:1: column name 'x' is there twice"),
        ("a.csv", "x,\n1,2\n", r"a\.csv:1: column name '' is empty"),
        ("a.csv", "x,y\n1,2\n3\n", r"a\.csv:3: 1 cells, the header has 2"),
        ("a.csv", "x,y\n1,\n", r"a\.csv:2: an empty cell"),
        ("a.csv", "x,y\n", "a header and at least one row"),
        ("a.jsonl", '{"x": 1}\n{"x": \n', r"a\.jsonl:2: not JSON"),
        ("a.jsonl", '{"x": 1}\n{"y": 1}\n', r"a\.jsonl:2: keys"),
    ],
)
def test_bad_tables_are_refused_by_file_and_line(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=message):
        user_tables(tmp_path / name)


@pytest.mark.parametrize(
    "settings", [{"n": 0}, {"skeletons": ("joins",)}, {"min_rows": 9, "max_rows": 4}, {"wordings": 9}]
)
def test_settings_that_give_no_rows_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be|no such shapes"):
        Sql(**settings)


def test_more_rows_than_there_are_is_an_end_not_a_loop(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("name,age\nx,1\n")
    split = split_of(user_tables(tmp_path)[0])
    with pytest.raises(DataError, match="only .* of 500"):
        made(n=500, split=split, tables_path=str(tmp_path), skeletons=("easy",))
