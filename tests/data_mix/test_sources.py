"""Files, text and hub: every form read, every fault named by file and line."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_mix import DataError
from data_mix.catalog import SOURCES
from data_mix.sources.sql.tables import user_tables

ROWS = [{"prompt": "naïve?", "completion": "ja"}, {"prompt": "b", "completion": "c"}]


def rows(source: str, **config: Any) -> list[dict[str, Any]]:
    return list(SOURCES[source].rows(SOURCES[source].config(**config), Random(0)))


def jsonl(path: Path) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS), "utf-8")


def as_json(path: Path) -> None:
    path.write_text(json.dumps(ROWS), "utf-8")


def as_csv(path: Path) -> None:
    path.write_text("prompt,completion\nnaïve?,ja\nb,c\n", "utf-8")


def parquet(path: Path) -> None:
    pq.write_table(pa.Table.from_pylist(ROWS), path)


WRITERS: dict[str, Callable[[Path], None]] = {"jsonl": jsonl, "json": as_json, "csv": as_csv, "parquet": parquet}


@pytest.mark.parametrize("kind", WRITERS)
def test_a_file_a_folder_a_glob_and_gzip_give_the_same_rows(tmp_path: Path, kind: str) -> None:
    WRITERS[kind](tmp_path / f"a.{kind}")
    assert rows(kind, path=str(tmp_path / f"a.{kind}")) == ROWS
    assert rows(kind, path=str(tmp_path)) == ROWS
    assert rows(kind, path=str(tmp_path / f"*.{kind}")) == ROWS
    assert rows(kind, path=str(tmp_path), n=1) == ROWS[:1]
    if kind != "parquet":
        packed = tmp_path / "packed"
        packed.mkdir()
        (packed / f"a.{kind}.gz").write_bytes(gzip.compress((tmp_path / f"a.{kind}").read_bytes()))
        assert rows(kind, path=str(packed)) == ROWS


def test_gzip_is_known_by_its_first_bytes_and_an_ending_in_whatever_case(tmp_path: Path) -> None:
    jsonl(tmp_path / "x.jsonl")
    packed = gzip.compress((tmp_path / "x.jsonl").read_bytes())
    for name in ("1f2e", "y.JSONL.GZ", "z.Jsonl"):
        (tmp_path / name).write_bytes(packed)
        assert rows("jsonl", path=str(tmp_path / name)) == ROWS
    assert len(rows("jsonl", path=str(tmp_path))) == 3 * len(ROWS)
    (tmp_path / "t.CSV.gz").write_bytes(gzip.compress(b"name,n\na,1\n"))
    assert [table.columns for table in user_tables(tmp_path / "t.CSV.gz")] == [("name", "n")]


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        ("jsonl", '{"a": 1}\n{"a": \n', r"x\.jsonl:2: not JSON"),
        ("jsonl", '{"a": 1}\n[1]\n', r"x\.jsonl:2: a row must be an object, got list"),
        ("json", '{"rows": 1}', "must hold a list of objects"),
        ("json", "[\n{,}]", r"x\.json:2: not JSON"),
        ("csv", "", r"x\.csv: empty"),
        ("csv", "a,b\n1\n", r"x\.csv:2: 1 fields, the header has 2"),
        ("parquet", "no", r"x\.parquet: not a parquet file"),
    ],
)
def test_a_broken_file_is_named_with_its_line(tmp_path: Path, kind: str, text: str, message: str) -> None:
    (tmp_path / f"x.{kind}").write_text(text)
    with pytest.raises(DataError, match=message):
        rows(kind, path=str(tmp_path / f"x.{kind}"))


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match=r"x\.jsonl:1: not readable as UTF-8"):
        rows("jsonl", path=str(tmp_path / "x.jsonl"))


def test_a_missing_file_is_answered_with_the_nearest_name(tmp_path: Path) -> None:
    jsonl(tmp_path / "chats.jsonl")
    with pytest.raises(DataError, match=r"chat\.jsonl: no jsonl file there; did you mean chats\.jsonl\?"):
        rows("jsonl", path=str(tmp_path / "chat.jsonl"))


def test_nulls_inside_tool_arguments_are_kept(tmp_path: Path) -> None:
    call = {"name": "find", "arguments": {"city": None, "limit": 3}}
    row = {"messages": [{"role": "assistant", "content": None, "tool_calls": [{"function": call}]}]}
    (tmp_path / "x.jsonl").write_text(json.dumps(row) + "\n")
    assert rows("jsonl", path=str(tmp_path / "x.jsonl")) == [row]


@pytest.mark.parametrize(
    ("per", "texts"), [("line", ["a", "b", "c"]), ("paragraph", ["a\nb", "c"]), ("file", ["a\nb\n\nc"])]
)
def test_text_by_line_paragraph_and_file(tmp_path: Path, per: str, texts: list[str]) -> None:
    (tmp_path / "x.txt").write_text("a\nb\n\nc\n")
    assert [row["text"] for row in rows("text", path=str(tmp_path), per=per)] == texts


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=["LF", "CRLF", "CR"])
@pytest.mark.parametrize("blank", ["", " ", "\t", "\u00a0", "\u200b", "\f"], ids=ascii)
def test_a_paragraph_ends_at_a_line_that_shows_nothing_whatever_ends_a_line(
    tmp_path: Path, end: str, blank: str
) -> None:
    """Three paragraphs, the first of two lines, the last two with two blank lines between them."""
    text = end.join(["a", "b", blank, "c", blank, blank, "d", ""])
    (tmp_path / "x.txt").write_bytes(text.encode())
    assert [row["text"] for row in rows("text", path=str(tmp_path), per="paragraph")] == ["a\nb", "c", "d"]
    assert [row["text"] for row in rows("text", path=str(tmp_path))] == ["a", "b", "c", "d"]


def test_a_hub_data_set_while_offline_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(DataError, match=r"source hub 'org/none'.*download it and use source: jsonl or parquet"):
        rows("hub", path="org/none")


def test_what_datasets_can_load_from_a_folder_the_hub_source_can(tmp_path: Path) -> None:
    jsonl(tmp_path / "train.jsonl")
    assert rows("hub", path=str(tmp_path)) == ROWS
    assert rows("hub", path=str(tmp_path), n=1) == ROWS[:1]
