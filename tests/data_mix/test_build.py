"""The mix: counted, cached by content, held out, packed; rows that cannot be trained on are dropped with a reason."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from data_mix import DataError
from data_mix.build import Packing, build, held_out
from data_mix.catalog import SOURCES
from data_mix.config import DataConfig, SourceSpec
from data_mix.render import WORDS, Rendering


def spec(path: Path, name: str = "a", **more: Any) -> SourceSpec:
    return SourceSpec(source="jsonl", config=SOURCES["jsonl"].config(path=str(path)), name=name, **more)


def chats(path: Path, n: int, words: int = 1) -> Path:
    rows = [
        {"prompt": [{"role": "user", "content": f"say {i}"}],
         "completion": [{"role": "assistant", "content": f"{i} " * words}]}
        for i in range(n)
    ]  # fmt: skip
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


Build = Callable[..., Any]


@pytest.fixture
def built(tmp_path: Path, tokenizer: Any) -> Build:
    def make(config: DataConfig, how: Rendering | None = None, packing: Packing | None = None) -> Any:
        return build(config, tokenizer, how or Rendering(), tmp_path / "cache", packing)

    return make


def test_the_manifest_counts_what_is_there(tmp_path: Path, built: Build) -> None:
    mix = built(DataConfig(train=(spec(chats(tmp_path / "a.jsonl", 6)),)))
    facts = mix.manifest["train"]["a"]
    assert (facts["read"], facts["rows"], facts["dropped"], facts["epochs"]) == (6, 6, {}, 1.0)
    assert facts["tokens"] == sum(len(ids) for ids in mix.train["input_ids"])
    assert facts["supervised_tokens"] == sum(label != -100 for row in mix.train["labels"] for label in row)
    assert len(facts["sha256"]) == 64
    assert mix.manifest["mix"] == {"rows": 6, "packed_rows": 6, "tokens": facts["tokens"]}


def test_the_second_build_comes_from_the_cache_and_is_the_same(tmp_path: Path, built: Build) -> None:
    config = DataConfig(train=(spec(chats(tmp_path / "a.jsonl", 5)),))
    first, second = built(config), built(config)
    assert (first.cached, second.cached) == (False, True)
    assert first.train.to_dict() == second.train.to_dict()
    assert first.manifest == second.manifest


def test_data_template_text_and_settings_each_make_another_mix(tmp_path: Path, tokenizer: Any, built: Build) -> None:
    config = DataConfig(train=(spec(chats(tmp_path / "a.jsonl", 5)),))
    hashes = [
        built(config).manifest["hash"],
        built(config, Rendering(messages=WORDS, completions=WORDS)).manifest["hash"],
        built(config, Rendering(max_length=64)).manifest["hash"],
        built(config, packing=Packing(length=64)).manifest["hash"],
    ]
    tokenizer.chat_template = tokenizer.chat_template.replace("helpful", "kind")
    hashes.append(built(config).manifest["hash"])
    chats(tmp_path / "a.jsonl", 5, words=2)
    hashes.append(built(config).manifest["hash"])
    assert len(set(hashes)) == len(hashes)


def test_rows_whose_answer_does_not_fit_are_dropped_and_counted_and_none_left_is_an_error(
    tmp_path: Path, built: Build
) -> None:
    path = chats(tmp_path / "a.jsonl", 3)
    with path.open("a") as handle:
        long = {"prompt": "q", "completion": "word " * 200}
        handle.write(json.dumps(long) + "\n")
    mix = built(DataConfig(train=(spec(path),)), Rendering(max_length=100))
    assert mix.manifest["train"]["a"]["dropped"] == {"no answer fits whole into max_length 100": 1}
    assert len(mix.train) == 3
    with pytest.raises(DataError, match="none of 4 rows can be trained on.*raise train.max_length"):
        built(DataConfig(train=(spec(path),)), Rendering(max_length=4))


def test_held_out_rows_are_in_no_training_row(tmp_path: Path, built: Build) -> None:
    config = DataConfig(
        train=(spec(chats(tmp_path / "a.jsonl", 20)),),
        validation=(SourceSpec(name="held", split_from="train", fraction=0.25),),
    )
    mix = built(config)
    held = {tuple(row.input_ids) for row in mix.validation["held"]}
    trained = {tuple(ids) for ids in mix.train["input_ids"]}
    assert (len(held), len(trained)) == (5, 15)
    assert not held & trained
    assert {tuple(r.input_ids) for r in built(config).validation["held"]} == held


def test_the_held_out_rows_alone_are_those_of_the_whole_mix(tmp_path: Path, tokenizer: Any, built: Build) -> None:
    """Rows taken from train need it; rows of a source of their own do not, even where train is no longer there."""
    path, own = chats(tmp_path / "a.jsonl", 8), chats(tmp_path / "v.jsonl", 3)
    taken = SourceSpec(name="held", split_from="train", fraction=0.25)
    for validation in [(taken, spec(own, "v")), (spec(own, "v"),)]:
        config = DataConfig(train=(spec(path),), validation=validation)
        whole = built(config).validation
        if taken not in validation:
            path.unlink()
        alone = held_out(config, tokenizer, Rendering())
        assert {name: part.rows for name, part in alone.items()} == whole


def test_validation_is_the_loss_of_answers_whatever_the_method_trains(tmp_path: Path, built: Build) -> None:
    path = chats(tmp_path / "a.jsonl", 4)
    config = DataConfig(train=(spec(path),), validation=(spec(path, "v"),))
    plain, words = built(config), built(config, Rendering(messages=WORDS, completions=WORDS))
    assert [r.labels for r in plain.validation["v"]] == [r.labels for r in words.validation["v"]]


def test_packing_keeps_every_token_and_says_where_rows_end(tmp_path: Path, built: Build) -> None:
    config = DataConfig(train=(spec(chats(tmp_path / "a.jsonl", 12)),))
    loose, packed = built(config), built(config, packing=Packing(length=128))
    assert len(packed.train) < len(loose.train)
    assert packed.manifest["mix"]["tokens"] == loose.manifest["mix"]["tokens"]
    pieces = []
    for row in packed.train:
        at = 0
        for length in row["seq_lengths"]:
            pieces.append(tuple(row["input_ids"][at : at + length]))
            at += length
    assert sorted(pieces) == sorted(tuple(ids) for ids in loose.train["input_ids"])


def test_a_row_that_cannot_be_read_is_named_by_file_and_line(tmp_path: Path, built: Build) -> None:
    path = chats(tmp_path / "a.jsonl", 2)
    with path.open("a") as handle:
        handle.write('{"prompt": "q", "completion": ""}\n')
    with pytest.raises(DataError, match=r"a\.jsonl:3: no completion"):
        built(DataConfig(train=(spec(path),)))


def test_a_conversation_without_a_template_is_refused(tmp_path: Path, tokenizer: Any, built: Build) -> None:
    tokenizer.chat_template = None
    with pytest.raises(DataError, match="no chat template; set model.chat_template"):
        built(DataConfig(train=(spec(chats(tmp_path / "a.jsonl", 2)),)))
