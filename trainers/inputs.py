"""What a run reads besides its recipe, by content: kept in inputs.json, and compared when the run is gone on with.

Rows are compared as they are read, so that a file that was packed anew, or grew behind what is taken of it, is the
same; of everything else the files' bytes are.
"""

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from data_mix.config import SourceSpec
from data_mix.keys import content_of, digest_of, file_hash
from data_mix.signature import source_files
from eval_hooks.files import read_json
from trainers.models import start_files
from trainers.recipe import ModelSection, Recipe

FILE = "inputs.json"
TABLES = (".csv", ".json", ".jsonl", ".parquet", ".gz")
"""How files of items end."""
SHOWN = 16
"""Digits of a hash in a message."""
Inputs = dict[str, dict[str, Any]]
"""What it is -> {file, sha256}; of rows also the `files` that they were read from."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """How two readings differ, a line each."""

    told: Sequence[str] = ()
    """What leaves the run what it was."""
    refused: Sequence[str] = ()
    """What would make it another run."""


def inputs_of(recipe: Recipe, start: ModelSection, manifest: Mapping[str, Any]) -> Inputs:
    """Of a run on the model `start`, as the recipe names it, and of the mix that a manifest describes."""
    found: Inputs = {}
    for name, sha in start_files(start).items():
        adapter = "adapter/" if Path(name).parent == Path(start.path) and _is_adapter(start) else ""
        found[f"model/{adapter}{Path(name).name}"] = {"file": name, "sha256": sha}
    named = {"template": recipe.model.chat_template, "deepspeed": recipe.deepspeed}
    plugins = {f"plugin/{Path(str(one)).name}": one for one in recipe.resolved.get("plugins") or ()}
    for what, file in {**named, **plugins}.items():
        if file and "{" not in str(file) and Path(file).is_file():
            found[what] = {"file": str(file), "sha256": file_hash(Path(file))}
    for side in ("train", "validation"):
        for spec in getattr(recipe.data, side):
            found[f"rows/{side}.{spec.name}"] = _rows(spec, manifest[side][spec.name]["sha256"])
    for task in (*recipe.eval.target, *recipe.eval.retain):
        path = task.path or getattr(task.rows and task.rows.config, "path", None)
        files = {name: sha for name, sha in content_of(Path(path)).items() if name.endswith(TABLES)} if path else {}
        if files:
            found[f"items/{task.called}"] = {"file": path, "sha256": digest_of(files), "files": files}
    return found


def _is_adapter(start: ModelSection) -> bool:
    return (Path(start.path) / "adapter_config.json").is_file()


def _rows(spec: SourceSpec, sha: str) -> dict[str, Any]:
    path = getattr(spec.config, "path", None)
    return {"file": path or f"source {spec.source or 'from train'}", "sha256": sha, "files": source_files(spec)}


def differences(before: Mapping[str, Any], now: Inputs) -> Found:
    """Between what inputs.json says and what is read now; what only one of them has is the recipe's, but for a model's.

    Where rows differ, the files that do are named with their hashes.
    """
    told, refused = [], []
    for what in sorted(before.keys() | now.keys()):
        old, new = before.get(what), now.get(what)
        if old is None or new is None:
            if what.startswith("model/"):
                file = (old or new or {})["file"]
                refused.append(_line(what, file, (old or {}).get("sha256"), (new or {}).get("sha256")))
            continue
        files = list(_files(what, old, new))
        if old["sha256"] != new["sha256"]:
            refused += files or [_line(what, new["file"], old["sha256"], new["sha256"])]
        else:
            told += [f"{line}; what is read of it is the same" for line in files]
    return Found(told=told, refused=refused)


def _files(what: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    before, now = old.get("files") or {}, new.get("files") or {}
    for name in sorted(before.keys() | now.keys()):
        if before.get(name) != now.get(name):
            whole = Path(new["file"])
            file = os.path.normpath((whole if whole.is_dir() else whole.parent) / name)
            yield _line(what, file, before.get(name), now.get(name))


def _line(what: str, file: str, old: str | None, new: str | None) -> str:
    was, now = (sha[:SHOWN] if sha else "not there" for sha in (old, new))
    return f"{file} ({what}): sha256 {was} -> {now}"


def read_inputs(folder: Path) -> dict[str, Any]:
    """What inputs.json of a run folder says; {} where there is none."""
    return read_json(folder / FILE)


def versions(then: Mapping[str, Any]) -> list[str]:
    """How an environment.json's versions of Python and of packages differ from those here, a line each."""
    old = {"python": then.get("python"), **then.get("packages", {})}
    now = {name: sys.version.split()[0] if name == "python" else _version(name) for name in old}
    return [f"{name}: {old[name]} -> {now[name]}" for name in old if then and old[name] != now[name]]


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
