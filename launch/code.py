"""Code of somebody else's that a recipe runs: it is said before it runs, and a run folder's needs --trust."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from launch.problems import RecipeError, shown
from trainers import announce
from trainers.world import rank

RUNS: Mapping[str, str] = {
    "plugins": "Python files that are run",
    "trust_remote_code": "Python files beside the model that are run",
    "include_path": "lm-eval tasks, which may name Python functions beside them",
    "attn_implementation": "a kernel from the hub",
}
"""Key of a recipe, wherever it stands -> what of its value is code."""


def code_in(values: Mapping[str, Any] | Sequence[Any], path: str = "") -> Iterator[tuple[str, Any, str]]:
    """(key, value, what is run) of every value of a resolved recipe or pipeline that is code of somebody else's."""
    items = values.items() if isinstance(values, Mapping) else enumerate(values)
    for key, value in items:
        at = f"{path}.{key}" if path else str(key)
        if key in RUNS and _is_code(str(key), value):
            yield at, value, RUNS[str(key)]
        elif isinstance(value, Mapping | list | tuple):
            yield from code_in(value, at)


def _is_code(key: str, value: Any) -> bool:
    if key == "trust_remote_code":
        return value is True
    if key == "attn_implementation":  # sdpa, eager and the like are transformers' own
        return isinstance(value, str) and "/" in value
    return bool(value)


def say(resolved: Mapping[str, Any]) -> None:
    """A line on the screen for each, before it runs; plugins were said when they were read."""
    for at, value, what in code_in(resolved):
        if at != "plugins" and rank() == 0:
            announce(f"code      {at} {shown(value)}: {what}")


def refuse(resolved: Mapping[str, Any]) -> None:
    """Raise RecipeError where a recipe without its plugins (--no-plugins) runs code of another kind."""
    if found := [f"{at}: {shown(value)}: {what}" for at, value, what in code_in(resolved)]:
        raise RecipeError(f"--no-plugins: {'; '.join(found)}; leave --no-plugins out once you have looked at it")


def need_trust(file: Path, resolved: Mapping[str, Any], words: Sequence[str] = ()) -> None:
    """Raise RecipeError naming the code that a run folder's recipe would run, unless a word says otherwise."""
    said = [word.partition("=")[0] for word in words]
    found = [
        f"{at} {shown(value, 200)} ({what})"
        for at, value, what in code_in({key: value for key, value in resolved.items() if key != "arguments"})
        if not any(_lies_in(at, word) for word in said)
    ]
    if found:
        raise RecipeError(f"{file}: asks for {'; '.join(found)}; look at that code, then add --trust to have it run")


def _lies_in(at: str, word: str) -> bool:
    """Whether a key is set by a word; a pipeline's words are laid over each of its runs."""
    own = re.sub(r"^pipeline\.\d+\.", "", at)
    return own == word or own.startswith(f"{word}.")
