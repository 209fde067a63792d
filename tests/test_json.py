"""JSON that is JSON: no NaN and no infinity leave any package, and no part of one writes by itself."""

import ast
import json
from pathlib import Path
from typing import Any

import pytest

import data_mix.json_text
import eval_hooks.json_text

ROOT = Path(__file__).parents[1]
PACKAGES = ("launch", "trainers", "data_mix", "eval_hooks")
WRITERS = {"data_mix/json_text.py", "eval_hooks/json_text.py"}


def writes(file: Path) -> list[ast.Call]:
    """Calls of json.dump and json.dumps, whatever they are imported as."""
    tree = ast.parse(file.read_text("utf-8"))
    bare = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "json"
        for alias in node.names
        if alias.name in ("dump", "dumps", "JSONEncoder")
    }
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return [
        call
        for call in calls
        if (isinstance(call.func, ast.Attribute) and ast.unparse(call.func) in ("json.dump", "json.dumps"))
        or (isinstance(call.func, ast.Name) and call.func.id in bare)
    ]


def test_json_is_written_in_one_place_of_a_package_and_without_nan() -> None:
    found = {
        str(f.relative_to(ROOT)): calls for p in PACKAGES for f in (ROOT / p).rglob("*.py") if (calls := writes(f))
    }
    assert set(found) == WRITERS
    for calls in found.values():
        for call in calls:
            assert "allow_nan=False" in [ast.unparse(keyword) for keyword in call.keywords]


@pytest.mark.parametrize("module", [data_mix.json_text, eval_hooks.json_text])
def test_what_is_no_number_is_null(module: Any) -> None:
    """At any depth, in tuples, and where `default` makes it of something else."""

    class Tensor:
        def item(self) -> float:
            return float("nan")

    value = {"a": float("nan"), "b": [1.5, (float("inf"), -float("inf"))], "c": Tensor(), "d": True, "e": 10**30}
    text = module.json_text(value, default=lambda other: other.item())
    assert json.loads(text, parse_constant=pytest.fail) == {
        "a": None, "b": [1.5, [None, None]], "c": None, "d": True, "e": 10**30
    }  # fmt: skip
