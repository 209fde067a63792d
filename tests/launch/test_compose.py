"""extends, overrides and relative paths."""

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from launch import RecipeError
from launch.compose import merge, override, read
from launch.load import with_words
from launch.nodes import Node, parse, plain
from launch.paths import absolute
from launch.recipes import find_recipe

Write = Callable[..., str]


def tree(text: str) -> Node:
    node = parse(text)
    assert node is not None
    return node


@pytest.mark.parametrize(
    ("base", "over", "result"),
    [
        ("{a: {x: 1, y: 2}}", "{a: {y: 3}}", {"a": {"x": 1, "y": 3}}),
        ("{a: [1, 2]}", "{a: [3]}", {"a": [3]}),
        ("{a: {x: 1}, b: 2}", "{a: null}", {"b": 2}),
        ("{a: {x: 1}}", "{a: {x: null, z: null}}", {"a": {"z": None}}),
        ("{a: 1}", "{a: {x: 1}}", {"a": {"x": 1}}),
        ("{a: {x: 1}}", "{a: 1}", {"a": 1}),
    ],
)
def test_maps_merge_lists_replace_null_deletes(base: str, over: str, result: Any) -> None:
    assert plain(merge(tree(base), tree(over))) == result


@pytest.mark.parametrize(
    ("word", "result"),
    [
        ("a.b=2", {"a": {"b": 2}, "l": [{"n": 1}, {"n": 2}]}),
        ("a.c.d=[x, 1e-3]", {"a": {"b": 1, "c": {"d": ["x", 1e-3]}}, "l": [{"n": 1}, {"n": 2}]}),
        ("l.1.n=50", {"a": {"b": 1}, "l": [{"n": 1}, {"n": 50}]}),
        ("l.0.m=no", {"a": {"b": 1}, "l": [{"n": 1, "m": "no"}, {"n": 2}]}),
        ("a.b=null", {"a": {}, "l": [{"n": 1}, {"n": 2}]}),
        ("a=", {"l": [{"n": 1}, {"n": 2}]}),
        ("l=[]", {"a": {"b": 1}, "l": []}),
        ("a.b=x=y", {"a": {"b": "x=y"}, "l": [{"n": 1}, {"n": 2}]}),
        ("new.deep.key=true", {"a": {"b": 1}, "l": [{"n": 1}, {"n": 2}], "new": {"deep": {"key": True}}}),
    ],
)
def test_a_word_sets_one_value(word: str, result: Any) -> None:
    assert plain(override(tree("{a: {b: 1}, l: [{n: 1}, {n: 2}]}"), word)) == result


@pytest.mark.parametrize(
    ("word", "parts"),
    [
        ("a.b", ["'a.b'", "section.key=value"]),
        ("=3", ["section.key=value"]),
        ("a..b=3", ["section.key=value"]),
        ("l.2.n=1", ["command line: l", "no entry '2'", "0 to 1"]),
        ("l.x=1", ["no entry 'x'", "0 to 1"]),
        ("l.-1.n=1", ["no entry '-1'"]),
        ("a.b.c=1", ["a.b", "1 (command line) has no key 'c'"]),
        ("a.b=[1", ["command line", "not YAML", "'[1'"]),
        ("extends=x.yaml", ["extends", "name another recipe"]),
    ],
)
def test_a_word_that_reaches_nothing_says_why(word: str, parts: list[str]) -> None:
    with pytest.raises(RecipeError) as caught:
        override(tree("{a: {b: 1}, l: [{n: 1}, {n: 2}]}"), word)
    for part in parts:
        assert part in str(caught.value)


def test_all_wrong_words_are_named_at_once() -> None:
    with pytest.raises(RecipeError) as caught:
        with_words(tree("{a: 1}"), ["b", "a.c=1", "d=2"])
    assert len(caught.value.problems) == 2


def test_extends_lays_later_bases_over_earlier_ones_and_the_file_over_all(recipe: Write, tmp_path: Path) -> None:
    recipe("{a: 1, b: 1, c: 1}", "one.yaml")
    recipe("{b: 2, c: 2}", "sub/two.yaml")
    file = recipe("extends: [one.yaml, ./sub/two.yaml]\nc: 3")
    assert plain(read(Path(file))) == {"a": 1, "b": 2, "c": 3}


def test_a_value_keeps_the_file_and_line_it_came_from(recipe: Write, tmp_path: Path) -> None:
    recipe("x: 1\na:\n  b: 2", "base.yaml")
    node = read(Path(recipe("extends: base.yaml\na: {c: 3}")))
    assert str(node.value["a"].value["b"].place).endswith("base.yaml:3")
    assert str(node.value["a"].value["c"].place).endswith("run.yaml:2")


def test_a_shipped_recipe_can_be_extended_by_its_bare_name(recipe: Write) -> None:
    assert plain(read(Path(recipe("extends: quickstart"))))["stage"] == "sft"


def test_a_circle_of_extends_is_printed(recipe: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    recipe("extends: b.yaml", "a.yaml")
    recipe("extends: a.yaml", "b.yaml")
    with pytest.raises(RecipeError, match="circle: a.yaml -> b.yaml -> a.yaml"):
        read(tmp_path / "a.yaml")


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("extends: bse.yaml", ["run.yaml:1", "extends", "bse.yaml: no such file"]),
        ("extends: quickstrat", ["extends", "did you mean 'quickstart'?"]),
        ("extends: 3", ["extends", "3", "path or bare name"]),
        ("extends: [{a: 1}]", ["extends", "path or bare name"]),
        ("", ["run.yaml", "empty", "stage:"]),
        ("- a", ["run.yaml", "['a'] instead of sections"]),
    ],
)
def test_a_file_that_is_no_recipe_says_so(recipe: Write, text: str, parts: list[str]) -> None:
    with pytest.raises(RecipeError) as caught:
        read(Path(recipe(text)))
    for part in parts:
        assert part in str(caught.value)


def test_a_file_that_is_not_text_is_named(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RecipeError, match="run.yaml: cannot be read"):
        read(file)


def test_a_path_is_made_absolute_without_following_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A link's name has the ending that says how to read; `..` after a link means the folder above its target."""
    (tmp_path / "blobs").mkdir()
    (tmp_path / "data" / "sub").mkdir(parents=True)
    (tmp_path / "blobs" / "1f2e").write_bytes(gzip.compress(b'{"text": "a"}\n'))
    (tmp_path / "data" / "rows.jsonl.gz").symlink_to("../blobs/1f2e")
    (tmp_path / "now").symlink_to("data/sub")
    for written, due in (
        ("./data/sub/../rows.jsonl.gz", "data/rows.jsonl.gz"), ("now/../rows.jsonl.gz", "now/../rows.jsonl.gz"),
        ("./now", "now"), ("./data/./sub/../../now/a.csv", "now/a.csv"),
    ):  # fmt: skip
        monkeypatch.chdir(tmp_path)
        assert plain(override(tree("{}"), f"data.path={written}")) == {"data": {"path": str(tmp_path / due)}}
    assert str(absolute(Path("/../a/.."))) == "/"


def test_a_recipe_that_is_a_link_has_the_links_name_and_place(recipe: Write, tmp_path: Path) -> None:
    recipe("data: {train: [{path: ./rows.jsonl}]}", "blobs/1f2e")
    (tmp_path / "chat.yaml").symlink_to("blobs/1f2e")
    file = find_recipe(str(tmp_path / "chat.yaml"))
    assert file == tmp_path / "chat.yaml"
    assert plain(read(file))["data"]["train"] == [{"path": str(tmp_path / "rows.jsonl")}]


def test_a_path_is_relative_to_the_file_that_names_it(
    recipe: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe("x", "data/there.bin")
    recipe(
        "data: {train: [{path: ../rows.jsonl}, {path: there.bin}, {path: org/set}, {path: late.csv}]}", "data/b.yaml"
    )
    monkeypatch.chdir(recipe("model: {path: small}", "elsewhere/run.yaml").rpartition("/")[0])
    node = with_words(read(tmp_path / "data" / "b.yaml"), ["model.path=./mine", "model.chat_template='{{ x }}'"])
    found = plain(node)
    assert [entry["path"] for entry in found["data"]["train"]] == [
        str(tmp_path / "rows.jsonl"),
        str(tmp_path / "data" / "there.bin"),
        "org/set",
        str(tmp_path / "data" / "late.csv"),
    ]
    assert found["model"]["path"] == str(tmp_path / "elsewhere" / "mine")


@pytest.mark.parametrize(
    "name", ["quickstart", "smollm2-135m-instruct", "HuggingFaceTB/SmolLM2-135M", "zero2", "{% if x %}.jinja"]
)
def test_hub_ids_names_and_template_text_stay_as_they_are(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    node = override(tree("{}"), f"model.path='{name}'")
    assert plain(node) == {"model": {"path": name}}
