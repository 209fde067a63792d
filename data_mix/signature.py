"""What decides the rows of a source, for a cache's key and for a run that goes on: content, never names and times."""

import inspect
import os
import sys
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from data_mix.config import SourceSpec
from data_mix.keys import content_of, file_hash
from data_mix.sources.files import matching
from data_mix.sources.formats import READERS


def signature(spec: SourceSpec) -> list[Any]:
    """Of a source that is not read whole: the content of what its entry names, else what is installed; its own code.

    A source that names no file (`pydoc`, `readmes`) may read what this Python has installed.
    """
    from data_mix.catalog import SOURCES

    files = source_files(spec)
    installed = sorted((str(d.name), d.version) for d in distributions()) if not files else []
    code = inspect.getsourcefile(SOURCES[spec.source].rows)
    return [files, sys.version, installed, file_hash(Path(code)) if code else None]


def source_files(spec: SourceSpec) -> dict[str, str]:
    """File -> sha256 of what a source reads of this disk, as far as its entry names it; {} for one that names nothing.

    Names begin at the folder that the entry's path is, or lies in.
    """
    ending = {"text": "txt"}.get(spec.source, spec.source)
    if spec.config is None or ending not in (*READERS, "txt"):  # of a plugin, say: any of its keys may name a file
        named = [value for value in vars(spec.config).values() if isinstance(value, str)] if spec.config else []
        return {name: sha for value in named if value for name, sha in content_of(Path(value)).items()}
    path = Path(spec.config.path).expanduser()
    home = path if path.is_dir() else path.parent
    return {os.path.relpath(file, home): file_hash(file) for file in matching(spec.config.path, ending)}
