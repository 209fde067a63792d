"""sha256 of every file that a checkpoint is made of, and what has changed since they were taken."""

from collections.abc import Mapping
from pathlib import Path

from trainers.cache import sha256
from trainers.content import PARTS
from trainers.models import locate, starting_point
from trainers.recipe import Recipe

Hashes = Mapping[str, Mapping[str, str]]
"""Part -> file name -> sha256."""
RUN = {"recipe": ("recipe.yaml", "recipe.resolved.json"), "data": ("data.manifest.json",)}
"""Files of its run's folder."""


def hashes_of(folder: Path, parts: Mapping[str, tuple[str, ...]]) -> dict[str, dict[str, str]]:
    """The hashes of a folder's files, by part."""
    return {
        part: {
            str(file.relative_to(folder)): sha256(file)
            for file in sorted({file for pattern in patterns for file in folder.glob(pattern)})
            if file.is_file()
        }
        for part, patterns in parts.items()
    }


def checkpoint_hashes(folder: Path, run: Path, recipe: Recipe) -> dict[str, dict[str, str]]:
    """The hashes of a checkpoint, of its run's recipe and data manifest, and of the base that an adapter stands on.

    That is the model which training started from: itself a merged one where it began with an adapter. A base from the
    hub is known by its name and revision.
    """
    found = {**hashes_of(folder, PARTS), **hashes_of(run, RUN)}
    if not (folder / "adapter_config.json").is_file():
        return found
    base = Path(locate(starting_point(recipe.model).path).base)
    if not base.is_dir():
        return {**found, "base": {recipe.model.path: recipe.model.revision or "newest"}}
    return {**found, "base": hashes_of(base, {"base": PARTS["weights"]})["base"]}


def changed(then: Hashes, now: Hashes) -> list[str]:
    """What is different now, in words, one entry a file."""
    out = []
    for part in dict.fromkeys([*then, *now]):
        before, after = then.get(part, {}), now.get(part, {})
        for name in dict.fromkeys([*before, *after]):
            if before.get(name) != after.get(name):
                word = "is gone" if name not in after else "is new" if name not in before else "has changed"
                out.append(f"{part} {name} {word}")
    return out
