"""`plugins: [./mine.py]`: files that add rows to the tables.

A plugin is a Python file that may define METHODS, SOURCES, TASKS and VERIFIERS, each a dict of rows as the packages'
own tables hold them, and import what stands beside it. Every rank reads the recipe, so every rank has them. It is code:
nothing of it runs before the rest of the recipe has been checked, and its path is said first.
"""

import importlib.util
import re
import sys
import traceback
from collections.abc import MutableMapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from launch.nodes import Node, plain
from launch.paths import absolute
from launch.problems import Problem, RecipeError, shown
from launch.tables import Tables
from trainers import announce
from trainers.world import rank

KINDS = ("METHODS", "SOURCES", "TASKS", "VERIFIERS")


def add_plugins(tree: Node, tables: Tables) -> Tables:
    """The tables with the rows of the recipe's plugins, which also join the packages' own tables.

    Raises RecipeError for a file that is not there, that fails (with the end of its traceback), that adds nothing, or
    that takes a name which is taken.
    """
    for entry in listed(tree):
        module = _load(entry)
        rows = {kind: dict(getattr(module, kind, {})) for kind in KINDS}
        if not any(rows.values()):
            raise _error(entry, f"{entry.value}: adds nothing; define one of {', '.join(KINDS)}")
        for kind in ("TASKS", "VERIFIERS"):
            rows[kind] = {name: _with_home(row, f"{kind}[{name!r}]", entry) for name, row in rows[kind].items()}
        _check_methods(rows["METHODS"], entry)
        for kind, found in rows.items():
            _join(_table(kind), found, kind, entry)
        tables = replace(
            tables,
            methods={**tables.methods, **rows["METHODS"]},
            sources={**tables.sources, **rows["SOURCES"]},
            tasks={**tables.tasks, **rows["TASKS"]},
        )
    return tables


def listed(tree: Node) -> Sequence[Node]:
    """The plugin files of a recipe. Raises RecipeError for one that is not there."""
    node = tree.value.get("plugins")
    if node is None or node.value is None:
        return []
    found = node.value if isinstance(node.value, list) else [node]
    for entry in found:
        if not isinstance(entry.value, str) or not Path(entry.value).is_file():
            what = shown(plain(entry), 200)
            raise _error(entry, f"{what}: no such file; write the path of a Python file, as ./mine.py")
        if Path(entry.value).suffix != ".py":
            raise _error(entry, f"{shown(entry.value, 200)}: a plugin's name must end in .py; rename it, as ./mine.py")
    return found


def not_for_plugins(problems: Sequence[Problem]) -> list[Problem]:
    """The problems of a recipe that no row of a plugin could mend.

    A method that is not known may take arguments and hyperparameters of its own.
    """
    method = any(problem.path.endswith("method.name") and problem.row for problem in problems)
    own = re.compile(r"(pipeline\.\d+\.)?(train|method)(\.|$)")
    return [p for p in problems if not p.row and not (method and own.match(p.path))]


def _load(entry: Node) -> ModuleType:
    """The module of a plugin file; a file that was read before is the same module."""
    path = absolute(Path(entry.value))
    name = f"tempering_plugin_{path.stem}_{abs(hash(str(path))) % 10**8}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    if rank() == 0:
        announce(f"plugin    {path}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))  # for what it imports from beside it; last, so that it hides nothing
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        own = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
        where = f"{path}:{own[-1].lineno}: {own[-1].line}" if own else str(path)
        raise _error(entry, f"{path.name} fails: {type(error).__name__}: {error} ({where})") from error
    return module


def _check_methods(rows: dict[str, Any], entry: Node) -> None:
    """Raise RecipeError with all that the stages of these methods would pass over."""
    from trainers.served import problems

    found = [_error(entry, f"METHODS[{name!r}]: {text}") for name, row in rows.items() for text in problems(row)]
    if found:
        raise RecipeError([problem for error in found for problem in error.problems])


def _with_home(row: Any, called: str, entry: Node) -> Any:
    """The row with its file: what it judges with is called in a process that reads the file again."""
    if not hasattr(row, "home"):
        raise _error(entry, f"{called} is a {type(row).__name__}; write a Task(...) or a Verifier(...)")
    return replace(row, home=str(absolute(Path(entry.value))))


def _table(kind: str) -> MutableMapping[str, Any]:
    """The package's own table, which trainers and evaluators look into."""
    from data_mix.catalog import SOURCES
    from eval_hooks.catalog import TASKS
    from trainers.catalog import METHODS
    from trainers.rlvr.judge import VERIFIERS

    return {"METHODS": METHODS, "SOURCES": SOURCES, "TASKS": TASKS, "VERIFIERS": VERIFIERS}[kind]  # type: ignore[return-value]


@cache
def _shipped(kind: str) -> frozenset[str]:
    """Names of a package's own rows, before any plugin joined."""
    return frozenset(_table(kind))


def _join(table: MutableMapping[str, Any], rows: dict[str, Any], kind: str, entry: Node) -> None:
    for name, row in rows.items():
        if name in _shipped(kind):
            raise _error(entry, f"{kind}[{name!r}] is taken; give the plugin's row another name")
        table[name] = row


def _error(entry: Node, text: str) -> RecipeError:
    return RecipeError(Problem(path="plugins", place=str(entry.place), text=text))
