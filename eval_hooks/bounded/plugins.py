"""A row of a table as the worker finds it: in the package's own table, or in that of a plugin's file."""

import importlib.util
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any


def row_of(table: Mapping[str, Any], kind: str, name: str, home: str) -> Any:
    """`table[name]`, or `name` of the table called `kind` in the file `home`. Raises ValueError where it is not."""
    rows = getattr(_module(home), kind, {}) if home else table
    if name not in rows:
        place = home or "the package's own table, and only a plugin's file can be read again"
        raise ValueError(f"{kind}[{name!r}] is not in {place}")
    return rows[name]


@cache
def _module(home: str) -> ModuleType:
    """The plugin's file, run; its module is known by name, as its dataclasses need."""
    name = f"plugin_{Path(home).stem}"
    spec = importlib.util.spec_from_file_location(name, home)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
