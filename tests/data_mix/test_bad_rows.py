"""Rows that cannot be used: all of a file named together, by reason and line, or dropped and counted."""

import json
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_mix import DataError
from data_mix.bad_rows import BadRows
from data_mix.build import build, read, read_source
from data_mix.catalog import SOURCES
from data_mix.config import DataConfig, SourceSpec
from data_mix.forms import FORMS
from data_mix.render import Rendering
from trainers.catalog import STAGES

GOOD = {"prompt": "a", "completion": "b"}
Write = Callable[[Path], None]


def spec(source: str, path: Path, **more: Any) -> SourceSpec:
    return SourceSpec(source=source, name="s", config=SOURCES[source].config(path=str(path)), **more)


def jsonl(path: Path) -> None:
    """Blank lines are counted; bad: 3 (empty), 5 (no JSON), 6 (empty), 8 (cut character), 9 (half a character)."""
    lines = [json.dumps(GOOD), "", '{"prompt": "a", "completion": ""}', json.dumps(GOOD), '{"prompt": "a"',
             '{"prompt": "b", "completion": " "}', "  ", '{"prompt": "a\\udce9", "completion": "b"}',
             '{"prompt": "\\ud83d", "completion": "b"}', "\ufeff" + json.dumps(GOOD)]  # fmt: skip
    path.write_bytes("\r\n".join(lines).encode("utf-8", "surrogateescape"))


def as_json(path: Path) -> None:
    """Bad: the rows that begin at 4 (no object), 5 (NaN), 9 (half a character), 10 (empty)."""
    path.write_text('\ufeff[\n {"prompt": "a",\n  "completion": "b"},\n 7,\n {"prompt": NaN,\n\n "completion": "b"},\n\n'
                    ' {"prompt": "\\udfff"}, \n{"prompt": "a", "completion": ""}\n]\n', "utf-8")  # fmt: skip


def as_csv(path: Path) -> None:
    """A field of two lines; bad: 4 (one field), 6 (empty, begins where its quote does), 8 (a quote), 9 (Latin-1)."""
    path.write_bytes(b'\xef\xbb\xbfprompt,completion\r\n"a\r\nb",c\r\nx\r\n\r\n"q\r\nr",\r\n"a"b,c\r\n\xe9,b\r\n')


def parquet(path: Path) -> None:
    """Bad: rows 2 and 4."""
    rows = [GOOD, {"prompt": "a", "completion": ""}, GOOD, {"prompt": "a", "completion": None}]
    pq.write_table(pa.Table.from_pylist(rows), path)


def text(path: Path) -> None:
    """Bad: line 3."""
    path.write_bytes(b"a\r\rb\xe9\rc")


CASES: dict[str, tuple[Write, list[str], int]] = {
    "jsonl": (jsonl, [":3", ":5", ":6", ":8", ":9"], 3),
    "json": (as_json, [":4", ":5", ":9", ":10"], 1),
    "csv": (as_csv, [":4", ":6", ":8", ":9"], 1),
    "parquet": (parquet, [" row 2", " row 4"], 2),
    "text": (text, [":3"], 2),
}


@pytest.mark.parametrize("source", CASES)
def test_all_bad_rows_of_a_file_are_found_where_an_editor_shows_them(tmp_path: Path, source: str) -> None:
    write, bad, good = CASES[source]
    file = tmp_path / f"x.{'txt' if source == 'text' else source}"
    write(file)
    form = FORMS["text" if source == "text" else "conversations"]
    (part,), _ = read(DataConfig(train=(spec(source, file),), bad_rows="drop"), form)
    assert sorted(place for places in part.bad.places.values() for place in places) == sorted(
        f"{file}{place}" for place in bad
    )
    assert (len(part.raw), part.read) == (good, good + len(bad))
    with pytest.raises(DataError) as caught:
        read(DataConfig(train=(spec(source, file),)), form)
    assert f"{file}{bad[0]}" in str(caught.value) and "data.bad_rows: drop" in str(caught.value)
    if len(bad) > 1:
        assert f"{len(bad)} of {good + len(bad)} rows cannot be used" in str(caught.value)


def test_a_message_counts_each_reason_and_names_its_first_lines() -> None:
    """5 rows that begin alike are one reason, though a value in each is its own; the sixth is another."""
    bad = BadRows("chats")
    for line in (3, 17, 40, 41, 90):
        bad.add(f"/d/a.jsonl:{line}", f"/d/a.jsonl:{line} message {line}: role 'r{line}' is not known; map it")
    bad.add("/d/b.jsonl:7", "/d/b.jsonl:7: text is empty")
    assert bad.counts == {"message …: role … is not known": 5, "text is empty": 1}
    assert bad.message(100) == (
        "data source chats: 6 of 100 rows cannot be used: 5 rows, /d/a.jsonl:3 and at 17, 40 and 2 more: message 3: role "
        "'r3' is not known; map it · /d/b.jsonl:7: text is empty (data.bad_rows: drop leaves them out)"
    )


def test_a_file_that_is_something_else_altogether_is_no_longer_to_read_than_another(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_bytes(bytes(range(256)) * 500)
    with pytest.raises(DataError) as caught:
        read_source(spec("jsonl", tmp_path / "x.jsonl"), 0)
    assert len(str(caught.value)) < 2000 and "data.bad_rows" not in str(caught.value)


def test_bad_rows_of_all_sources_are_named_together(tmp_path: Path) -> None:
    for name in ("a", "b"):
        jsonl(tmp_path / f"{name}.jsonl")
    config = DataConfig(train=(spec("jsonl", tmp_path / "a.jsonl"),), validation=(spec("jsonl", tmp_path / "b.jsonl"),))
    with pytest.raises(DataError, match=r"(?s)a\.jsonl:5.*\n.*b\.jsonl:5"):
        read(config, FORMS["conversations"])


STRICT = (
    "{{ raise_exception('no') if messages[0].content == 'bad' }}{% for m in messages %}<{{ m.content }}>{% endfor %}"
)


def chats(path: Path) -> Path:
    turns = [("ok", "a"), ("bad", "b"), ("bad", ""), ("good", "c"), ("bad", "d")]
    rows = [{"messages": [{"role": "user", "content": q}, {"role": "assistant", "content": a}]} for q, a in turns]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize("until", [None, 1000], ids=["whole", "streamed"])
def test_what_the_template_refuses_is_named_with_what_cannot_be_read(
    tmp_path: Path, tokenizer: Any, until: int | None
) -> None:
    """Lines 2 and 5 are refused by the template, 3 has an empty answer; 1 and 4 remain. A stream stops at the first."""
    tokenizer.chat_template = STRICT
    one = spec("jsonl", chats(tmp_path / "x.jsonl"))

    def built(**data: Any) -> Any:
        config = DataConfig(train=(one,), until_tokens=until, **data)
        return build(config, tokenizer, Rendering(), tmp_path / "cache")

    with pytest.raises(DataError, match=r"x\.jsonl:2.*the chat template refuses") as caught:
        built()
    assert "x.jsonl:3" in str(caught.value) and (until or "2 rows" in str(caught.value))
    for cached in (False, True):
        mix = built(bad_rows="drop")
        facts = mix.manifest["train"]["s"]
        assert mix.cached is cached and (facts["read"], facts["rows"]) == (5, 2)
        assert sorted(facts["dropped"].values()) == [1, 2]
        assert [f"{one.config.path}:{line}" for line in (2, 5)] in facts["bad_rows"].values()


def test_equal_pairs_are_dropped_and_none_left_is_an_error(tmp_path: Path, tokenizer: Any) -> None:
    pairs = [{"prompt": "q:", "chosen": " yes", "rejected": other} for other in (" no", " yes", " ")]
    (tmp_path / "x.jsonl").write_text("".join(json.dumps(row) + "\n" for row in pairs))
    one = spec("jsonl", tmp_path / "x.jsonl")

    def built(config: DataConfig) -> Any:
        return build(config, tokenizer, Rendering(), tmp_path / "cache", form=FORMS["pairs"]).manifest["train"]["s"]

    assert built(DataConfig(train=(one,), bad_rows="drop"))["rows"] == 1
    (tmp_path / "x.jsonl").write_text("".join(json.dumps(row) + "\n" for row in pairs[1:]))
    with pytest.raises(DataError, match="none of 2 rows can be trained on: chosen and rejected are equal"):
        built(DataConfig(train=(one,), bad_rows="drop"))


def test_prompts_and_golds_are_dropped_alike(tmp_path: Path, tokenizer: Any) -> None:
    """Line 1 is sound; 2 the template refuses, 3 has no gold answer that is a number, 4 none at all."""
    tokenizer.chat_template = STRICT
    rows = [
        {"prompt": q, "verifier": "number", "answer": a} for q, a in (("q", "3"), ("bad", "3"), ("q", "x"), ("q", ""))
    ]
    (tmp_path / "x.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    one, form = spec("jsonl", tmp_path / "x.jsonl"), STAGES["rlvr"].form

    def built(**data: Any) -> Any:
        return build(DataConfig(train=(one,), **data), tokenizer, Rendering(), tmp_path / "cache", form=form)

    with pytest.raises(DataError, match="3 of 4 rows cannot be used") as caught:
        built()
    assert all(f"x.jsonl:{line}: {reason}" in str(caught.value) for line, reason in (
        (2, "the chat template refuses"), (3, "verifier number: the gold answer 'x' holds no number"), (4, "answer is empty")
    ))  # fmt: skip
    facts = built(bad_rows="drop").manifest["train"]["s"]
    assert (facts["rows"], facts["read"], sum(facts["dropped"].values())) == (1, 4, 3)


def test_a_parquet_files_types_are_kept_as_json_has_them(tmp_path: Path, tokenizer: Any) -> None:
    """RLVR keeps every column: ISO 8601, digits as they were written, text from bytes that are UTF-8, base64 else."""
    row = {"prompt": "q", "verifier": "number", "answer": Decimal("42.50"), "day": date(2024, 2, 29), "who": b"Zo\xc3\xab",
           "hash": b"\xff\x00", "at": datetime(2024, 2, 29, 1, 2, 3), "score": float("nan"), "took": timedelta(minutes=1),
           "nested": [{"when": time(1, 2)}]}  # fmt: skip
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "x.parquet")
    config = DataConfig(train=(spec("parquet", tmp_path / "x.parquet"),))
    mix = build(config, tokenizer, Rendering(), tmp_path / "cache", form=STAGES["rlvr"].form)
    assert json.loads(mix.train[0]["row"]) == {
        "prompt": [{"role": "user", "content": "q"}], "verifier": "number", "answer": "42.50", "day": "2024-02-29",
        "who": "Zoë", "hash": "/wA=", "at": "2024-02-29T01:02:03", "score": None, "took": "0:01:00",
        "nested": [{"when": "01:02:00"}], "chat_template_kwargs": {},
    }  # fmt: skip
    with pytest.raises(DataError, match=r"x\.parquet row 1: .*b'\\xff' is no text"):
        pq.write_table(pa.Table.from_pylist([{"prompt": b"\xff", "completion": "b"}]), tmp_path / "x.parquet")
        read(config, FORMS["conversations"])
