"""Streamed mixes: shares of tokens, as far as needed and no further, going on where a run before stopped."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from data_mix import DataError
from data_mix.build import Mix, build
from data_mix.config import DataConfig, SourceSpec
from data_mix.forms import FORMS
from data_mix.render import Rendering
from data_mix.sources.files import Files


@pytest.fixture
def spec(tmp_path: Path) -> Callable[..., SourceSpec]:
    """A source of texts, all of one length in tokens."""

    def made(name: str, rows: int, words: int, **more: Any) -> SourceSpec:
        texts = [f"{name} {i:03d} " + "word " * words for i in range(rows)]
        file = tmp_path / f"{name}.jsonl"
        file.write_text("".join(json.dumps({"text": text.strip()}) + "\n" for text in texts))
        return SourceSpec(source="jsonl", name=name, config=Files(path=str(file)), **more)

    return made


def mixed(tokenizer: Any, tmp_path: Path, *specs: SourceSpec, **data: Any) -> Mix:
    config = DataConfig(train=specs, weight_by="tokens", **data)
    return build(config, tokenizer, Rendering(), tmp_path / "cache", form=FORMS["text"])


def test_shares_are_of_tokens_within_one_row(tokenizer: Any, tmp_path: Path, spec: Any) -> None:
    """Long rows at 3 to 1: three quarters of the tokens, whatever the numbers of rows."""
    mix = mixed(tokenizer, tmp_path, spec("long", 400, 40, weight=3.0), spec("short", 400, 5, weight=1.0),
                until_tokens=4000)  # fmt: skip
    long, short = (mix.manifest["train"][name] for name in ("long", "short"))
    total, widest = long["tokens"] + short["tokens"], 60
    assert 4000 <= total < 4000 + widest and mix.manifest["mix"]["tokens"] == total
    assert abs(long["tokens"] / total - 0.75) < widest / total
    assert long["read"] < 100 and short["read"] < 200  # as far as needed


def test_a_later_run_goes_on_behind_an_earlier_one(tokenizer: Any, tmp_path: Path, spec: Any) -> None:
    """0 to 500 and 500 to 1200 are 0 to 1200: no row twice, none missing."""
    one = spec("a", 200, 10)
    first, second, whole = (
        mixed(tokenizer, tmp_path, one, until_tokens=until, skip_tokens=skip)
        for until, skip in ((500, 0), (1200, 500), (1200, 0))
    )
    ids = [[tuple(row["input_ids"]) for row in mix.train] for mix in (first, second, whole)]
    assert ids[0] + ids[1] == ids[2]
    assert first.manifest["hash"] != second.manifest["hash"]


def test_a_source_that_repeats_begins_again_and_one_that_does_not_ends_the_mix(
    tokenizer: Any, tmp_path: Path, spec: Any
) -> None:
    small = mixed(tokenizer, tmp_path, spec("small", 5, 10), until_tokens=10_000)
    assert small.manifest["mix"]["rows"] == 5
    again = mixed(tokenizer, tmp_path, spec("again", 5, 10, repeat=True), until_tokens=500)
    assert again.manifest["mix"]["tokens"] >= 500 and again.manifest["train"]["again"]["epochs"] > 1


def test_the_cache_is_taken_and_a_changed_file_is_seen(tokenizer: Any, tmp_path: Path, spec: Any) -> None:
    one = spec("a", 20, 10)
    assert [mixed(tokenizer, tmp_path, one, until_tokens=100).cached for _ in range(2)] == [False, True]
    assert not mixed(tokenizer, tmp_path, spec("a", 21, 10), until_tokens=100).cached


@pytest.mark.parametrize(
    ("specs", "data", "message"),
    [
        ([("a", 5, 5, {}), ("b", 5, 5, {})], {}, "every source of several needs a weight"),
        ([("a", 5, 5, {})], {"skip_tokens": 900}, r"the first 900 are for the run before; give more, or repeat"),
        ([("a", 5, 5, {})], {"validation": (SourceSpec(name="held", split_from="train", fraction=0.1),)},
         "nothing can be held out of rows that are streamed"),
    ],
)  # fmt: skip
def test_what_cannot_be_streamed_is_named(
    tokenizer: Any, tmp_path: Path, spec: Any, specs: Any, data: Any, message: str
) -> None:
    made = [spec(name, rows, words, **more) for name, rows, words, more in specs]
    with pytest.raises(DataError, match=message):
        mixed(tokenizer, tmp_path, *made, until_tokens=1000, **data)


def test_a_row_of_another_shape_is_named_by_line(tokenizer: Any, tmp_path: Path) -> None:
    file = tmp_path / "chat.jsonl"
    file.write_text(json.dumps({"prompt": "a", "completion": "b"}) + "\n")
    with pytest.raises(DataError, match=r"chat\.jsonl:1: its shape is prompt\+completion"):
        mixed(tokenizer, tmp_path, SourceSpec(source="jsonl", name="c", config=Files(path=str(file))), until_tokens=10)


def test_a_pattern_of_files_is_read_anew_when_one_is_edited(tokenizer: Any, tmp_path: Path, spec: Any) -> None:
    """Same size, same time: `a-*.jsonl` and a folder; a copy of a file with another time is the same."""
    spec("a-1", 50, 10)
    for path in (str(tmp_path / "a-*.jsonl"), str(tmp_path)):
        one = SourceSpec(source="jsonl", name="a", config=Files(path=path))
        file = tmp_path / "a-1.jsonl"
        before = mixed(tokenizer, tmp_path, one, until_tokens=200)
        os.utime(file)
        assert mixed(tokenizer, tmp_path, one, until_tokens=200).cached
        found = file.stat()
        file.write_text(file.read_text().replace("word", "wird"))
        os.utime(file, ns=(found.st_atime_ns, found.st_mtime_ns))
        after = mixed(tokenizer, tmp_path, one, until_tokens=200)
        assert not after.cached and after.train[0]["input_ids"] != before.train[0]["input_ids"]
        file.write_text(file.read_text().replace("wird", "word"))


def test_a_build_that_was_killed_before_it_was_saved_is_made_again(
    tokenizer: Any, tmp_path: Path, spec: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = spec("a", 50, 10)

    def killed(*args: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("data_mix.build._save", killed)
        mixed(tokenizer, tmp_path, one, until_tokens=200)
    made = mixed(tokenizer, tmp_path, one, until_tokens=200)
    assert made.manifest["train"]["a"]["tokens"] == made.manifest["mix"]["tokens"] >= 200
    assert not list((tmp_path / "cache/data").glob("*.part"))
