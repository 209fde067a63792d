"""The catalogs in words, for `temper list`."""

from typing import Any, Literal

from launch.fields import fields_of
from launch.resolved import plain
from trainers.method import Method

Kind = Literal["recipes", "methods", "tasks", "sources", "verifiers"]


def listing(kind: Kind) -> list[tuple[str, str]]:
    """(name, one line about it) of every row of a catalog, in the catalog's order."""
    if kind == "recipes":
        from launch.recipes import list_recipes

        return list(list_recipes().items())
    if kind == "sources":
        from data_mix.catalog import SOURCES

        return [(name, source.about) for name, source in SOURCES.items()]
    if kind == "verifiers":
        from trainers.rlvr.judge import VERIFIERS

        return [(name, verifier.about) for name, verifier in VERIFIERS.items()]
    if kind == "tasks":
        from eval_hooks.catalog import TASKS, names

        return [(name, f"{row.about} ({row.kind})") for name, row in zip(names(TASKS), TASKS.values(), strict=True)]
    from trainers.catalog import METHODS

    return [
        (name, f"{', '.join(method.stages)}: {method.about}{_paper(method.source.arxiv)}{_sets(method)}")
        for name, method in METHODS.items()
    ]


def _paper(arxiv: str | None) -> str:
    return f" (arXiv:{arxiv})" if arxiv else ""


def _sets(method: Method[Any, Any]) -> str:
    """What the row sets where a recipe says nothing: the method's own keys, and arguments of `train:`."""
    config: type = method.config
    own = {field.name: field.default for field in fields_of(config).values() if not field.required}
    said = {"method": own, "train": method.defaults}
    words = [f"{block}.{key} {plain(value)}" for block, keys in said.items() for key, value in keys.items()]
    return f"; sets {', '.join(words)}" if words else ""


def table(rows: list[tuple[str, str]]) -> str:
    """Two aligned columns."""
    width = max((len(name) for name, _ in rows), default=0)
    return "\n".join(f"{name:<{width}}  {about}" for name, about in rows)
