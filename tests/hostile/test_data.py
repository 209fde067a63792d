"""A data file that is none, or never ends: the package's own error with the file's name, soon, in bounded memory."""

import json
import resource
from collections.abc import Iterator
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest

from data_mix import DataError
from data_mix.catalog import SOURCES
from data_mix.config import SourceSpec
from data_mix.json_text import parse_json
from data_mix.messages import from_json
from data_mix.read import numbered
from data_mix.sources.files import LONGEST, matching
from data_mix.sources.sql.tables import user_tables
from eval_hooks import EvalError
from eval_hooks.config import TaskSpec
from eval_hooks.tasks import mmlu
from tests.hostile.files import CSV, DIGITS, GZ, JSON, JSONL, PARQUET, PLACES, of_one_line

WRITERS = {"jsonl": JSONL, "csv": CSV, "json": JSON, "parquet": PARQUET}
CASES = [(kind, f"x.{kind}", case, make) for kind, made in WRITERS.items() for case, make in made.items()]
CASES += [(kind, f"x.{kind}.gz", case, make) for kind in ("jsonl", "csv", "json") for case, make in GZ.items()]
CASES += [("text", f"x.txt{gz}", case, make) for gz, made in (("", {key: CSV[key] for key in ("latin", "utf-16")}), (".gz", GZ))
          for case, make in made.items()]  # fmt: skip
CASES += [
    (kind, f"x.{kind}", case, make) for kind in ("jsonl", "csv", "json", "parquet") for case, make in PLACES.items()
]
IDS = [f"{name} {case}" for _, name, case, _ in CASES]


def rows(kind: str, path: Path | str, **config: Any) -> list[Any]:
    spec = SourceSpec(source=kind, name=kind, config=SOURCES[kind].config(path=str(path), **config))
    return list(numbered(spec, 0))


@pytest.mark.parametrize(("kind", "name", "case", "make"), CASES, ids=IDS)
def test_every_reader_answers_every_hostile_file_with_its_name(
    kind: str, name: str, case: str, make: Any, tmp_path: Path
) -> None:
    make(tmp_path / name)
    for config in ({}, {"per": "file"}) if kind == "text" else ({},):
        with pytest.raises(DataError, match=f"(?s){name[:-3] if case == 'circle' else name}") as caught:
            rows(kind, tmp_path / name, **config)
        assert len(str(caught.value)) < 700 and "\n" not in str(caught.value)
    if case in PLACES and case != "circle":  # in a folder and behind a pattern too
        for where in (tmp_path, tmp_path / "x.*"):
            with pytest.raises(DataError, match="no regular file"):
                rows(kind, where)


TASK_CASES = [*(("test.jsonl", case, make) for case, make in JSONL.items() if case not in ("no number", "infinite", "twice")),
              *(("test.csv", case, make) for case, make in CSV.items()),
              *(("test.csv.gz", case, make) for case, make in GZ.items())]  # fmt: skip


@pytest.mark.parametrize(("name", "case", "make"), TASK_CASES, ids=[f"{name} {case}" for name, case, _ in TASK_CASES])
def test_mmlus_reader_answers_them_too(name: str, case: str, make: Any, tmp_path: Path) -> None:
    make(tmp_path / name)
    for path in (tmp_path, tmp_path / name):
        with pytest.raises(EvalError):
            mmlu.load(TaskSpec(task="mmlu", path=str(path), shots=0))


@pytest.mark.parametrize("name", PLACES)
def test_mmlu_waits_for_no_pipe(name: str, tmp_path: Path) -> None:
    PLACES[name](tmp_path / "test.csv")
    for path in (tmp_path, tmp_path / "test.csv"):
        with pytest.raises(EvalError):
            mmlu.load(TaskSpec(task="mmlu", path=str(path), shots=0))


SQL_CASES = [
    (f"x.{kind}", case, make) for kind, made in (("jsonl", JSONL), ("csv", CSV)) for case, make in made.items()
]


@pytest.mark.parametrize(("name", "case", "make"), [*SQL_CASES, *(("x.csv", case, PLACES[case]) for case in PLACES)])
def test_a_table_of_the_users_is_answered_too(name: str, case: str, make: Any, tmp_path: Path) -> None:
    make(tmp_path / name)
    for path in (tmp_path, tmp_path / name):
        with pytest.raises(DataError):
            user_tables(path)


def test_numbers_that_sqlite_has_not_are_text(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text(f"a,b,c\n{DIGITS},nan,1\n1,2.5,2\n")
    table = user_tables(tmp_path)[0]
    assert table.kinds == ("text", "text", "int") and table.values("c") == [1, 2]


@pytest.fixture
def bounded() -> Iterator[None]:
    """A quarter of a gigabyte may be added to what this process has."""
    own = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (own + (3 << 28), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


def test_a_gigabyte_of_one_line_in_a_megabyte_is_not_unpacked(tmp_path: Path, bounded: None) -> None:
    of_one_line("jsonl")(tmp_path / "x.jsonl.gz")
    assert (tmp_path / "x.jsonl.gz").stat().st_size < 8 << 20
    for kind, name in (("jsonl", "x.jsonl.gz"), ("text", "x.jsonl.gz")):
        with pytest.raises(DataError, match=rf"x\.jsonl\.gz:1: a line of more than {LONGEST:,} characters"):
            rows(kind, tmp_path / name)
    with pytest.raises(EvalError, match="a line of more than"):
        mmlu.read_file(tmp_path / "x.jsonl.gz")


@pytest.mark.parametrize("path", ["~nobody-here/x.jsonl", "x" * 5000, "a\0b", "/proc/none/*", "", "[", "/dev/zero"])
def test_paths_that_are_none_are_answered(path: str) -> None:
    for kind in ("jsonl", "text"):
        with pytest.raises(DataError, match="path|file"):
            list(SOURCES[kind].rows(SOURCES[kind].config(path=path), Random(0)))


def test_long_texts_and_a_byte_order_mark_are_read(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text(f'\ufeffprompt,completion\n"{"a" * 200_000}",b\n', "utf-8")
    assert [len(row["prompt"]) for _, row in rows("csv", tmp_path / "x.csv")] == [200_000]
    (tmp_path / "x.jsonl").write_text('\ufeff{"prompt": "a\\ud83d\\ude00", "completion": "b"}\n', "utf-8")
    assert rows("jsonl", tmp_path / "x.jsonl")[0][1]["prompt"] == "a😀"


def test_json_inside_a_column_is_read_as_strictly() -> None:
    for text in ("[" * 5000, DIGITS, '{"a": 1, "a": 2}', "[NaN]", '["\\ud800"]', "[" * 200 + "]" * 200, ""):
        with pytest.raises(DataError, match=r"^row 7: "):
            from_json(text, "row 7")
    assert parse_json('{"a": [1, {"b": null}]}', "x") == {"a": [1, {"b": None}]}


def test_half_a_character_of_any_source_is_refused_with_its_row(monkeypatch: pytest.MonkeyPatch) -> None:
    made = SimpleNamespace(config=dict, rows=lambda cfg, rng: iter([{"text": "a"}, {"text": "b\udc80"}]))
    monkeypatch.setitem(SOURCES, "mine", made)  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"mine row 2: \\udc80 is half of a character"):
        list(numbered(SourceSpec(source="mine", name="mine"), 0))


def test_a_pattern_of_too_many_files_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("data_mix.sources.files.MOST", 3)
    for number in range(4):
        (tmp_path / f"{number}.jsonl").write_text(json.dumps({"text": "a"}))
    with pytest.raises(DataError, match="more than 3 files; name fewer"):
        matching(str(tmp_path / "*.jsonl"), "jsonl")
