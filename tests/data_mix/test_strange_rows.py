"""Rows that nobody would write, in every format and shape: trained on, or refused by file and line; never a traceback."""

import csv
import gzip
import io
import json
import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from data_mix import DataError
from data_mix.build import build
from data_mix.catalog import SOURCES
from data_mix.config import DataConfig, SourceSpec
from data_mix.render import Rendering
from trainers.catalog import STAGES

SAID = {"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}
SHAPES: dict[str, tuple[str, dict[str, Any]]] = {
    "text": ("cpt", {"text": "words"}),
    "messages": ("sft", {"messages": list(SAID)}),
    "sharegpt": ("sft", {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]}),
    "alpaca": ("sft", {"instruction": "q", "input": "", "output": "a"}),
    "prompt": ("sft", {"prompt": "q", "completion": "a"}),
    "pairs": ("dpo", {"prompt": "q:", "chosen": " a", "rejected": " b"}),
    "verified": ("rlvr", {"prompt": "q", "verifier": "number", "answer": "3", "choices": ["3", "4"]}),
    "sided": ("unlearn", {"prompt": "q", "completion": "a", "side": "forget"}),
}
"""Shape -> (stage, a row)."""
EXTRA = (
    "system",
    "tools",
    "chat_template_kwargs",
    "verifier",
    "side",
    "label",
    "choices",
    "train",
    "reasoning_content",
)
TEXTS = st.one_of(
    st.text(max_size=12),
    st.sampled_from(["", " ", "\u200b", "\ufeff", "\ud83d", "a\0b", "\r", "\r\n\r\n", "\u2028", "[", "{}", "[{}]", '"', "NaN",
                     "<|im_end|>", '{"a": 1}', '{"tools": 1}', '[{"role": "user"}]', "\\ud800", "1e999", "<think>", "x" * 300,
                     "\n\nHuman: q\n\nAssistant: a"]),
)  # fmt: skip
PLAIN = st.one_of(st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), TEXTS)
TYPED = st.one_of(
    PLAIN, st.binary(max_size=4), st.dates(), st.datetimes(), st.decimals(allow_nan=False, allow_infinity=False, places=2,
    min_value=-999, max_value=999), st.timedeltas(min_value=timedelta(-9), max_value=timedelta(9)),
)  # fmt: skip


def values(leaves: Any) -> Any:
    """Values that nest a little, with keys that mean something."""
    keys = st.sampled_from(
        ["role", "content", "from", "value", "type", "text", "function", "name", "arguments", "train"]
    )
    return st.recursive(
        leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3), max_leaves=5
    )


@st.composite
def spoilt(draw: st.DrawFn, shape: str, leaves: Any) -> list[dict[str, Any]]:
    """Up to four rows of a shape, in each a place or two with another value."""
    rows = []
    for _ in range(draw(st.integers(1, 4))):
        row = json.loads(json.dumps(SHAPES[shape][1]))
        for _ in range(draw(st.integers(0, 2))):
            inside = [
                one for column in row.values() if isinstance(column, list) for one in column if isinstance(one, dict)
            ]
            place = draw(st.sampled_from([row, *inside]))
            key = draw(
                st.sampled_from([*place, *(EXTRA if place is row else ("tool_calls", "train", "weight", "thinking"))])
            )
            if draw(st.integers(0, 5)):
                place[key] = draw(values(leaves))
            else:
                place.pop(key, None)
        rows.append(row)
    return rows


def as_jsonl(rows: list[dict[str, Any]], file: Path) -> None:
    file.write_bytes("\n".join(json.dumps(row) for row in rows).encode())


def as_json(rows: list[dict[str, Any]], file: Path) -> None:
    file.write_bytes(json.dumps(rows, indent=1, ensure_ascii=False).encode("utf-8", "surrogatepass"))


def as_csv(rows: list[dict[str, Any]], file: Path) -> None:
    text = io.StringIO()
    columns = list(dict.fromkeys(key for row in rows for key in row))
    writer = csv.DictWriter(text, columns, escapechar="\\", quoting=csv.QUOTE_ALL)
    writer.writeheader()
    writer.writerows({k: json.dumps(v) if isinstance(v, list | dict) else v for k, v in row.items()} for row in rows)
    file.write_bytes(text.getvalue().encode("utf-8", "surrogatepass"))


def as_parquet(rows: list[dict[str, Any]], file: Path) -> None:
    try:
        pq.write_table(pa.Table.from_pylist(rows), file)
    except (pa.ArrowException, OverflowError, UnicodeEncodeError, TypeError, ValueError):
        assume(False)  # no parquet file holds such rows


def as_text(rows: list[dict[str, Any]], file: Path) -> None:
    file.write_bytes("\n".join(str(one) for row in rows for one in row.values()).encode("utf-8", "surrogatepass"))


WRITERS: dict[str, tuple[Any, Callable[[list[dict[str, Any]], Path], None]]] = {
    "jsonl": (PLAIN, as_jsonl), "json": (PLAIN, as_json), "csv": (PLAIN, as_csv), "parquet": (TYPED, as_parquet),
    "text": (PLAIN, as_text), "hub": (TYPED, lambda rows, file: None),
}  # fmt: skip
PAIRS = [(source, shape) for source in WRITERS for shape in (["text"] if source == "text" else SHAPES)]
FEW, MANY = 50, 2000
PLACE = re.compile(r":\d+\b| row \d+\b")
WHOLE = re.compile(
    "can be trained on|: no rows|: empty; the first line|not a parquet file|not readable: |must hold a list"
)
"""What is said of a file as a whole."""


@st.composite
def cases(draw: st.DrawFn, source: str) -> tuple[str, list[dict[str, Any]], tuple[float, bytes] | None, str]:
    """(shape, rows, bytes that are put somewhere into the file, what becomes of bad rows)."""
    shape = draw(st.sampled_from([shape for other, shape in PAIRS if other == source]))
    rows = draw(spoilt(shape, WRITERS[source][0]))
    junk = st.sampled_from(
        [b"\xff", b"\xc3", b"\0", b'"', b"\n", b"\r", b"\xef\xbb\xbf", b"\xff\xfe", b"{", b"]", b",", b""]
    )
    torn = draw(st.none() | st.tuples(st.floats(0, 1), junk))
    return shape, rows, torn, draw(st.sampled_from(["error", "drop"]))


def check(source: str, case: Any, folder: Path, tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is a mix, or a DataError with file and line, or with the file where no line is at fault."""
    shape, rows, torn, bad_rows = case
    file = folder / f"x.{'txt' if source == 'text' else source}"
    WRITERS[source][1](rows, file)
    if torn and source != "hub":
        whole, at = file.read_bytes(), round(torn[0] * file.stat().st_size)
        file.write_bytes(whole[:at] + torn[1] + whole[at:] if torn[1] else whole[:at])
        if torn[0] > 0.9:
            file.write_bytes(gzip.compress(file.read_bytes()))
    monkeypatch.setattr("datasets.load_dataset", lambda *path, **more: iter(rows))
    spec = SourceSpec(source=source, name="s", config=SOURCES[source].config(path=str(file)))
    config = DataConfig(train=(spec,), bad_rows=bad_rows)
    try:
        build(config, tokenizer, Rendering(max_length=64), folder / "cache", form=STAGES[SHAPES[shape][0]].form)
    except DataError as error:
        said = str(error)
        assert str(file) in said or source == "hub" or WHOLE.search(said), said
        assert PLACE.search(said) or WHOLE.search(said), said
        said.encode()


def hold(source: str, examples: int, folder: Path, tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    quiet = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.function_scoped_fixture]

    @settings(max_examples=examples, derandomize=True, deadline=None, database=None, suppress_health_check=quiet)
    @given(cases(source))
    def every(case: Any) -> None:
        check(source, case, folder, tokenizer, monkeypatch)

    every()


@pytest.mark.parametrize("source", WRITERS)
def test_no_file_ends_in_a_traceback(
    source: str, tmp_path: Path, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold(source, FEW, tmp_path, tokenizer, monkeypatch)


@pytest.mark.soak
@pytest.mark.parametrize("source", WRITERS)
def test_two_thousand_files_of_each_format_end_in_none(
    source: str, tmp_path: Path, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold(source, MANY, tmp_path, tokenizer, monkeypatch)
