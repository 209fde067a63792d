"""YAML's traps: each read as a person means it, or refused with the place."""

import math
from pathlib import Path
from typing import Any

import pytest

from launch import RecipeError
from launch.nodes import parse, plain


def value(text: str) -> Any:
    node = parse(f"key: {text}")
    assert node is not None
    return plain(node)["key"]


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("1e-5", 1e-5),
        ("2E4", 20000.0),
        ("1.", 1.0),
        (".5", 0.5),
        ("-0.5", -0.5),
        ("+3", 3),
        ("0", 0),
        ("0x1F", 31),
        ("0o17", 15),
        ("-.inf", -math.inf),
        ("true", True),
        ("False", False),
        ("yes", "yes"),
        ("no", "no"),
        ("on", "on"),
        ("off", "off"),
        ("n", "n"),
        ("null", None),
        ("~", None),
        ("", None),
        ("12:30:45", "12:30:45"),
        ("2024-01-01", "2024-01-01"),
        ("1_000", "1_000"),
        ('"010"', "010"),
        ("'1e-5'", "1e-5"),
        ("1.2.3", "1.2.3"),
        ("runs/a:30", "runs/a:30"),
        ("=", "="),
    ],
)
def test_a_scalar_is_what_yaml_1_2_says(text: str, meant: Any) -> None:
    read = value(text)
    assert read == meant
    assert type(read) is type(meant)


def test_nan_is_a_number() -> None:
    assert math.isnan(value(".nan"))


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a: 1\nb: 2\na: 3", ["f.yaml:3:1", "key 'a'", "f.yaml:1:1"]),
        ("x: {a: 1, a: 2}", ["f.yaml:1:11", "f.yaml:1:5", "remove one"]),
        ("a: 010", ["f.yaml:1:4", "010", "write 10", '"010"']),
        ("a: -007", ["-007", "write -7"]),
        ("a:\n\t- 1", ["f.yaml:2", "a tab", "spaces"]),
        ("a: [1, 2", ["f.yaml:1", "not YAML"]),
        ("a: 1\n---\nb: 2", ["f.yaml:2", "second document"]),
        ("1: a", ["f.yaml:1:1", "key '1' is not text", "quotes"]),
        ("a: {{ x }}", ["key in { } or [ ] is not text", "quotes"]),
        ("true: a", ["key 'true' is not text"]),
        ("a: !!python/name:os.system x", ["f.yaml:1:4", "tag", "leave the tag out"]),
        ("a: !!int x", ["f.yaml:1:4", "'x'"]),
        ("a: *b", ["f.yaml:1:4", "undefined alias 'b'"]),
        ("a: &b [*b]", ["contains itself"]),
        ("<<: 3", ["f.yaml:1:1", "`<<` merges a map"]),
        ("a: \x07", ["not YAML"]),
    ],
)
def test_what_cannot_be_meant_is_refused_with_its_place(text: str, parts: list[str]) -> None:
    with pytest.raises(RecipeError) as caught:
        parse(text, Path("f.yaml"))
    for part in parts:
        assert part in str(caught.value)


def test_anchors_and_merge_keys_work_and_own_keys_win() -> None:
    node = parse("base: &b {x: 1, y: 2}\nc: &c {y: 5, z: 6}\na: {<<: [*b, *c], x: 3}")
    assert node is not None
    assert plain(node)["a"] == {"x": 3, "y": 2, "z": 6}


def test_a_merged_value_remembers_where_it_was_written() -> None:
    node = parse("b: &b\n  x: 1\na:\n  <<: *b", Path("f.yaml"))
    assert node is not None
    assert str(node.value["a"].value["x"].place) == "f.yaml:2"


def test_an_empty_file_is_nothing() -> None:
    assert parse("# only a comment\n") is None
