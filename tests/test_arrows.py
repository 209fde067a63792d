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
LIGHT = (
    "launch/cli/__init__.py",
    "launch/cli/app.py",
    "launch/cli/runs.py",
    "launch/cli/measures.py",
    "launch/cli/catalogs.py",
    "launch/__init__.py",
    "launch/__main__.py",
)
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


def reached(file: Path) -> set[str]:
    """First parts of all modules that importing a file imports, through our own files' tops."""
    names, left, seen = set(), [file], set()
    while left:
        for name in at_the_top(left.pop()) - seen:
            seen.add(name)
            names.add(name.partition(".")[0])
            parts = name.split(".")
            left += [f for i in range(len(parts)) if (f := module_file(parts[: i + 1]))]
    return names


def at_the_top(file: Path) -> set[str]:
    """Modules that a file's top imports, whole names; of `from a import b` both a and a.b."""
    names = set()
    for node in ast.parse(file.read_text("utf-8")).body:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def module_file(parts: list[str]) -> Path | None:
    """The file of a module of ours."""
    at = ROOT.joinpath(*parts)
    return next((f for f in (at.with_suffix(".py"), at / "__init__.py") if f.is_file()), None)


def test_the_tables_of_methods_are_read_without_a_library_of_trainers() -> None:
    """So that `temper list`, `explain` and `schema` take two seconds and not seven."""
    assert reached(ROOT / "trainers" / "catalog.py") & HEAVY == {"torch"}


def test_no_trainer_launcher_or_evaluator_knows_a_method_by_name() -> None:
    """`sft` is a stage too, `nll` a calibration number too; the table and the files of methods are the only others."""
    from trainers.catalog import METHODS

    names = set(METHODS) - {"sft", "nll"}
    files = [*(ROOT / "trainers").glob("*.py"), *(ROOT / "trainers").glob("*/trainer.py"),
             *(ROOT / "launch").rglob("*.py"), *(ROOT / "eval_hooks").rglob("*.py")]  # fmt: skip
    for file in files:
        if file.name == "catalog.py" and file.parent.name == "trainers":
            continue
        strings = {
            node.value
            for node in ast.walk(ast.parse(file.read_text("utf-8")))
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
        }
        assert not strings & names, file


def test_every_file_of_a_methods_folder_with_a_method_stands_in_the_table() -> None:
    from trainers.catalog import METHODS

    known = {id(method) for method in METHODS.values()}
    for file in (ROOT / "trainers").glob("*/*.py"):
        module = __import__(".".join(file.relative_to(ROOT).with_suffix("").parts), fromlist=["METHOD"])
        if hasattr(module, "METHOD"):
            assert id(module.METHOD) in known, file
