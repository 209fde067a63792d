"""Malformed recipes and rows, drawn from the schema: the right error with its path and line, and never a traceback.

All in one process. What the schema refuses, loading refuses; where the schema is silent (a misspelt key in a block that
is open, a repeated key, YAML that is none) the mistake is made by hand. The lines are found by PyYAML alone.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from typer.testing import CliRunner

from data_mix import DataError
from data_mix.build import read
from data_mix.forms import FORMS
from launch.cli import app
from launch.load import load
from launch.schema import recipe_schema

FEW, MANY = 25, 200
"""Examples of each kind in every test run, and in `make soak`."""
SOURCES = {
    "cpt": {"source": "pydoc", "n": 3},
    "sft": {"source": "jsonl", "path": "rows.jsonl"},
    "dpo": {"source": "sql_pairs", "n": 3},
    "rlvr": {"source": "curriculum", "n": 3},
    "unlearn": {"source": "facts", "people": 2},
}
VALUES = st.sampled_from(["no such thing", "", -7, 0.5, 3, 1e300, True, False, [1, "a"], [[]], {"a": 1}, [{"b": None}]])


def sound(stage: str) -> dict[str, Any]:
    return {
        "stage": stage,
        "model": {"path": "some/model"},
        "data": {"train": [dict(SOURCES[stage])]},
        "train": {"max_steps": 6, "global_batch_size": 2},
        "eval": {"retain": [{"task": "pocket", "shots": 0}]},
        "track": {"wandb": {"mode": "offline"}},
    }


@cache
def keys() -> list[tuple[str, tuple[str | int, ...], str]]:
    """(stage, path of a key, its schema as JSON) of all that a recipe of a stage may say."""
    whole = recipe_schema()
    found = []
    for stage, source in SOURCES.items():
        sections: dict[str, Any] = {**whole["properties"], "train": whole["$defs"][f"train_{stage}"]}
        sections["data.train.0"] = entry(sections["data"], "train", "source", source["source"])
        sections["eval.retain.0"] = entry(sections["eval"], "retain", "task", "pocket")
        for block in ("model", "adapter", "data", "train", "eval", "launch", "data.train.0", "eval.retain.0"):
            at = tuple(int(part) if part.isdecimal() else part for part in block.split("."))
            found += [(stage, (*at, key), json.dumps(schema)) for key, schema in closed_map(sections[block]).items()]
    return found


def closed_map(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The properties of a section, which may be null."""
    return next((s for s in schema.get("anyOf", [schema]) if "properties" in s), schema)["properties"]


def entry(section: Mapping[str, Any], side: str, head: str, name: str) -> Mapping[str, Any]:
    """The schema of the entries with a name, in a list of the section."""
    listed = next(s for s in closed_map(section)[side]["anyOf"] if s.get("type") == "array")["items"]["anyOf"]
    return next(s for s in listed if s.get("properties", {}).get(head, {}).get("const") == name)


def put(tree: Any, path: tuple[str | int, ...], value: Any) -> None:
    for part in path[:-1]:
        tree = tree[part] if isinstance(part, int) else tree.setdefault(part, {})
    tree[path[-1]] = value


def line_of(text: str, path: tuple[str | int, ...]) -> set[int]:
    """The lines of a key and its value, from 1."""
    node, line = yaml.compose(text), 0
    for part in path:
        if isinstance(part, int):
            node = node.value[part]
            continue
        key, node = next(pair for pair in node.value if pair[0].value == part)
        line = key.start_mark.line + 1
    return {line, node.start_mark.line + 1}


def refused(folder: Path, text: str) -> list[str]:
    """The lines that `temper train --dry-run` refuses a recipe with: exit code 2, no traceback."""
    file = folder / "malformed.yaml"
    file.write_text(text, "utf-8")
    (folder / "rows.jsonl").touch()
    done = CliRunner().invoke(app, ["train", str(file), "--dry-run"])
    assert done.exit_code == 2, (done.exit_code, done.exception, text)
    assert isinstance(done.exception, SystemExit) and "Traceback" not in done.output
    return done.stderr.splitlines()


@st.composite
def wrong_values(draw: st.DrawFn) -> tuple[str, tuple[str | int, ...]]:
    """A recipe with a value that the schema refuses, and that value's path."""
    stage, path, schema = draw(st.sampled_from(keys()))
    value = draw(VALUES.filter(lambda value: not Draft202012Validator(json.loads(schema)).is_valid(value)))
    tree = sound(stage)
    if path[0] == "adapter":
        tree["adapter"] = {"kind": "lora"}
    put(tree, path, value)
    return yaml.safe_dump(tree, sort_keys=False), path


@st.composite
def wrong_keys(draw: st.DrawFn) -> tuple[str, tuple[str | int, ...]]:
    """A recipe with a key that is nearly one, and its path."""
    stage, path, _ = draw(st.sampled_from([one for one in keys() if len(str(one[1][-1])) > 3]))
    name = str(path[-1])
    at = draw(st.integers(0, len(name) - 1))
    near = draw(st.sampled_from([name[:at] + name[at + 1 :], name[:at] + "q" + name[at:], name.upper()]))
    siblings = {other[1][-1] for other in keys() if other[0] == stage and other[1][:-1] == path[:-1]}
    tree = sound(stage)
    path = (*path[:-1], near if near not in siblings else f"{name}_qq")
    put(tree, path, 1)
    return yaml.safe_dump(tree, sort_keys=False), path


@st.composite
def no_yaml(draw: st.DrawFn) -> tuple[str, int]:
    """A recipe with one line that spoils it, and the number of that line."""
    lines = yaml.safe_dump(sound(draw(st.sampled_from(list(SOURCES)))), sort_keys=False).splitlines()
    spoils = [
        "\tstage: sft",
        "stage: sft",
        "model: [",
        "x: 012",
        "x: !!python/object:os.system a",
        "1: a",
        "? [a]\n: b",
    ]
    return "\n".join([*lines, draw(st.sampled_from(spoils))]) + "\n", len(lines) + 1


ROWS: dict[str, dict[str, Any]] = {
    "conversations": {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]},
    "pairs": {"prompt": "a", "chosen": "b", "rejected": "c"},
    "prompts": {"prompt": "a", "verifier": "exact", "answer": "b"},
    "sides": {"prompt": "a", "completion": "b", "side": "forget"},
    "text": {"text": "a"},
}
JUNK = st.sampled_from([None, 7, 1.5, True, [], {}, [[]], [1], ["a", 2], {"role": "user"}, [{"role": "user"}], ""])


@st.composite
def wrong_rows(draw: st.DrawFn) -> tuple[str, str, int]:
    """(kind of rows, a file of them, the number of the row that is spoilt)."""
    kind = draw(st.sampled_from(list(ROWS)))
    before = draw(st.integers(0, 3))
    row = json.loads(json.dumps(ROWS[kind]))
    column = draw(st.sampled_from([key for key in row if key != "verifier"]))
    how = draw(st.sampled_from(["junk", "gone", "no object", "no JSON", "message"]))
    if how == "message" and kind == "conversations":
        part = draw(st.sampled_from(["role", "content"]))
        row["messages"][draw(st.integers(0, 1))][part] = draw(JUNK)
    elif how == "gone":
        del row[column]
    else:
        row[column] = draw(JUNK)
    line = {"no object": "[1, 2]", "no JSON": '{"prompt": '}.get(how, json.dumps(row))
    good = json.dumps(ROWS[kind])
    return kind, "\n".join([*[good] * before, line, good]) + "\n", before + 1


def check_values(folder: Path, case: tuple[str, tuple[str | int, ...]]) -> None:
    """The path or one below it is named, at its line."""
    text, path = case
    name, lines = ".".join(map(str, path)), line_of(text, path)
    said = refused(folder, text)
    assert any(
        f": {name}" in one and any(f"malformed.yaml:{n}:" in one for n in {*lines, *range(min(lines), max(lines) + 9)})
        for one in said
    ), (text, said)


def check_keys(folder: Path, case: tuple[str, tuple[str | int, ...]]) -> None:
    text, path = case
    name = ".".join(map(str, path))
    said = refused(folder, text)
    assert any(f"malformed.yaml:{n}: {name}: " in one for one in said for n in line_of(text, path)), (text, said)


def check_yaml(folder: Path, case: tuple[str, int]) -> None:
    text, line = case
    (said,) = refused(folder, text)
    assert f"malformed.yaml:{line}" in said or f"malformed.yaml:{line + 1}" in said, (text, said)


def check_rows(folder: Path, case: tuple[str, str, int]) -> None:
    """The row is named, or, where what was drawn can be trained on after all, it reads as a row."""
    kind, text, number = case
    file = folder / "rows.jsonl"
    file.write_text(text, "utf-8")
    recipe = folder / "rows.yaml"
    recipe.write_text(yaml.safe_dump({**sound("sft"), "data": {"train": [{"source": "jsonl", "path": str(file)}]}}))
    try:
        (part,), _ = read(load(str(recipe)).data, FORMS[kind])
    except DataError as error:
        assert f"row {number}" in str(error) or f"rows.jsonl:{number}" in str(error), (text, str(error))
        return
    json.dumps(part.raw[number - 1])
    assert all(text_is_text(part.raw[number - 1])), (text, part.raw[number - 1])


def text_is_text(row: Mapping[str, Any]) -> Iterator[bool]:
    """What a tokenizer will be given is text."""
    for column in ("text", "prompt", "completion", "chosen", "rejected", "messages"):
        value = row.get(column, "")
        yield from (
            (isinstance(m["content"], str) for m in value) if isinstance(value, list) else [isinstance(value, str)]
        )


KINDS: dict[str, tuple[Any, Callable[[Path, Any], None]]] = {
    "values": (wrong_values(), check_values),
    "keys": (wrong_keys(), check_keys),
    "yaml": (no_yaml(), check_yaml),
    "rows": (wrong_rows(), check_rows),
}


def hold(kind: str, folder: Path, examples: int) -> None:
    """Draw examples of a kind and check each; the same ones every time."""
    cases, check = KINDS[kind]
    quiet = [HealthCheck.too_slow, HealthCheck.filter_too_much]

    @settings(max_examples=examples, derandomize=True, deadline=None, database=None, suppress_health_check=quiet)
    @given(cases)
    def every(case: Any) -> None:
        check(folder, case)

    every()


@pytest.mark.parametrize("kind", KINDS)
def test_a_malformed_recipe_or_row_is_answered_where_it_is(kind: str, tmp_path: Path) -> None:
    hold(kind, tmp_path, FEW)


@pytest.mark.soak
@pytest.mark.parametrize("kind", KINDS)
def test_two_hundred_malformed_recipes_and_rows_of_each_kind_are_answered(kind: str, tmp_path: Path) -> None:
    hold(kind, tmp_path, MANY)
