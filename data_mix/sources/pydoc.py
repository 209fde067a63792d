"""The documentation of the Python that runs this: docstrings of the standard library, read from its source files.

Text that every machine has, in one domain, with an honest held-out part: splits share no module. Nothing is imported,
so no module's import has effects. Rows depend on the Python version, which the manifest's sha256 shows.
"""

import ast
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from inspect import cleandoc
from itertools import islice
from pathlib import Path
from random import Random

from data_mix import DataError
from data_mix.splits import Split, split_of_name

SKIPPED = {"test", "tests", "idlelib", "lib2to3", "site-packages", "dist-packages", "turtledemo", "__pycache__"}
"""Folders that hold no documentation for readers."""
Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, kw_only=True)
class Pydoc:
    """Which part of the documentation."""

    split: Split = "train"
    """No module is in two splits: eight tenths train, one validation, one test, by a hash of its name."""
    n: int | None = None
    """At most this many rows, drawn at random; default all."""
    seed: int = 0
    min_chars: int = 200
    """Shorter docstrings are left out."""

    def __post_init__(self) -> None:
        """Refuse a number of rows that is none."""
        if self.n is not None and self.n < 1:
            raise ValueError(f"n must be above 0, got {self.n}")


def rows(cfg: Pydoc, rng: Random) -> Iterator[dict[str, str]]:
    """Rows {text, module}: a heading with the object's name and its docstring.

    Raises DataError where this Python comes without its library's source.
    """
    root = Path(sysconfig.get_paths()["stdlib"])
    found = [
        {"text": text, "module": module}
        for file in sorted(root.rglob("*.py"))
        if not SKIPPED & set(file.relative_to(root).parts)
        if split_of(module := module_name(file.relative_to(root))) == cfg.split
        for text in documentation(file, module)
        if len(text) >= cfg.min_chars
    ]
    if not found:
        raise DataError(f"source pydoc: no documentation under {root}; this Python comes without its library's source")
    Random(f"pydoc/{cfg.split}/{cfg.seed}").shuffle(found)
    return islice(iter(found), cfg.n)


def module_name(file: Path) -> str:
    """`json/decoder.py` is json.decoder, `json/__init__.py` is json."""
    parts = file.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def split_of(module: str) -> Split:
    """A module's split, from its top-level name, so that a package stays together."""
    return split_of_name(module.partition(".")[0])


def documentation(file: Path, module: str) -> Iterator[str]:
    """One text for each documented object of a source file, in its order."""
    try:
        tree = ast.parse(file.read_text("utf-8"))
    except (SyntaxError, UnicodeDecodeError):
        return  # files kept broken on purpose
    yield from _documented(tree, module, "module ")


def _documented(node: Documented, name: str, kind: str) -> Iterator[str]:
    if text := ast.get_docstring(node, clean=False):
        yield f"{kind}{name}\n\n{cleandoc(text)}"
    for child in node.body:
        if isinstance(child, ast.ClassDef):
            yield from _documented(child, f"{name}.{child.name}", "class ")
        elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) and not child.name.startswith("_"):
            yield from _documented(child, f"{name}.{child.name}({ast.unparse(child.args)})", "")
