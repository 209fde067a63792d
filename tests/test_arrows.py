"""Imports point one way: launch -> trainers -> {data_mix, eval_hooks}; read from the code's own import statements."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAY_USE = {
    "launch": {"launch", "trainers", "data_mix", "eval_hooks"},
    "trainers": {"trainers", "data_mix", "eval_hooks"},
    "data_mix": {"data_mix"},
    "eval_hooks": {"eval_hooks"},
}
OURS = set(MAY_USE) | {"tests"}
LIGHT = ("launch/cli.py", "launch/__init__.py", "launch/__main__.py")
HEAVY = {
    "torch",
    "transformers",
    "trl",
    "peft",
    "datasets",
    "wandb",
    "deepspeed",
    "pydantic",
    "matplotlib",
    "numpy",
    "pyarrow",
}


def imported(file: Path, top_level_only: bool = False) -> set[str]:
    """First parts of all modules a file imports, inside functions too unless told otherwise."""
    tree = ast.parse(file.read_text("utf-8"))
    nodes = tree.body if top_level_only else list(ast.walk(tree))
    names = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            names.add((node.module or "").partition(".")[0])
    return names


@pytest.mark.parametrize("package", MAY_USE)
def test_imports_point_one_way(package: str) -> None:
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    wrong = {str(f.relative_to(ROOT)): bad for f in files if (bad := (imported(f) & OURS) - MAY_USE[package])}
    assert not wrong


@pytest.mark.parametrize("file", LIGHT)
def test_the_command_line_imports_nothing_heavy_at_its_top(file: str) -> None:
    assert not imported(ROOT / file, top_level_only=True) & HEAVY


def test_no_method_is_known_by_name_outside_its_own_file_and_the_table() -> None:
    """In eval_hooks `nll` is the name of a calibration number."""
    from trainers.catalog import METHODS

    for file in [
        *(ROOT / "trainers").rglob("*.py"),
        *(ROOT / "launch").rglob("*.py"),
        *(ROOT / "eval_hooks").rglob("*.py"),
    ]:
        if file.name == "catalog.py" or file.stem in METHODS:
            continue
        strings = {
            node.value
            for node in ast.walk(ast.parse(file.read_text("utf-8")))
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
        }
        names = set(METHODS) - ({"nll"} if "eval_hooks" in file.parts else set())
        assert not strings & names, file
