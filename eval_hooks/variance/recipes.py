"""Whether runs are repetitions: recipes that agree in all but their seeds."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from eval_hooks.errors import EvalError
from eval_hooks.files import read_json

SEEDS = ("seed", "data_seed")
ELSEWHERE = (
    "name",
    "file",
    "overrides",
    "track",
    "arguments.output_dir",
    "arguments.run_name",
    "arguments.logging_dir",
    "arguments.report_to",
)
"""Where a run was asked for and where it writes and reports: no part of what it computes."""
SHOWN = 5
"""Differences that a message spells out."""


def check_repetitions(runs: Sequence[Path]) -> list[str]:
    """Names of the runs whose recipe is not there to be checked.

    Raises EvalError for recipes that differ in more than seeds, and for two runs with the same seeds.
    """
    files = {run: run / "recipe.resolved.json" for run in runs}
    known = [(run, dict(leaves(read_json(files[run])))) for run in runs if files[run].is_file()]
    if found := differences([recipe for _, recipe in known]):
        said = "".join(f"\n  {key}: {' | '.join(map(str, values))}" for key, values in list(found.items())[:SHOWN])
        more = f"\n  and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
        raise EvalError(
            f"{', '.join(str(run) for run, _ in known)}: their recipes differ in more than seeds, so that their spread "
            f"is not one of seeds; run one recipe with other seeds (train.seed=1, 2, ...):{said}{more}"
        )
    seen: dict[tuple[tuple[str, Any], ...], Path] = {}
    for run, recipe in known:
        seeds = tuple((key, value) for key, value in recipe.items() if _is_seed(key))
        if twin := seen.get(seeds):
            raise EvalError(f"{twin} and {run} have the same seeds: no spread of seeds; train.seed=N sets another")
        seen[seeds] = run
    return [str(run) for run in runs if not files[run].is_file()]


def leaves(tree: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """(path, value) of all that is no container; an empty container is a leaf."""
    children = list(tree.items() if isinstance(tree, Mapping) else enumerate(tree) if isinstance(tree, list) else ())
    if not children:
        yield path, tree
    for key, child in children:
        yield from leaves(child, f"{path}.{key}" if path else str(key))


def differences(recipes: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Paths whose value is not the same everywhere, seeds and places apart, with the values."""
    keys = dict.fromkeys(key for recipe in recipes for key in recipe)
    return {
        key: [recipe.get(key) for recipe in recipes]
        for key in keys
        if not _is_seed(key)
        and not any(key == place or key.startswith(f"{place}.") for place in ELSEWHERE)
        and any(recipe.get(key) != recipes[0].get(key) for recipe in recipes)
    }


def _is_seed(key: str) -> bool:
    return key.rpartition(".")[2] in SEEDS
