"""The way in: a recipe's name and key=value words to a Recipe."""

from collections.abc import Sequence
from dataclasses import replace

from launch.compose import override, read, text_of
from launch.nodes import Node, plain
from launch.problems import Problem, RecipeError
from launch.recipes import find_recipe
from launch.tables import Tables
from trainers.recipe import Pipeline, Recipe


def load(name: str, overrides: Sequence[str] = (), tables: Tables | None = None) -> Recipe:
    """The recipe of one run: a path or a shipped bare name, with `a.b.0.c=value` words laid over it.

    Raises RecipeError with all problems: of the words, or else of the recipe; and for a pipeline.
    """
    loaded = load_any(name, overrides, tables)
    if isinstance(loaded, Pipeline):
        runs = ", ".join(str(stage.recipe.file) for stage in loaded.stages)
        raise RecipeError(f"recipe {name}: a pipeline; name one of its runs: {runs}")
    return loaded


def load_any(name: str, overrides: Sequence[str] = (), tables: Tables | None = None) -> Recipe | Pipeline:
    """The same, where the recipe may be a pipeline."""
    from launch.pipeline import validate_pipeline
    from launch.plugins import add_plugins
    from launch.tables import shipped
    from launch.validate import validate

    file = find_recipe(name)
    tree = with_words(read(file), overrides)
    tables = add_plugins(tree, tables or shipped())
    kind = validate_pipeline if "pipeline" in tree.value else validate
    made = kind(tree, file, text_of(file), overrides, tables)
    added = {"plugins": plain(tree.value["plugins"])} if "plugins" in tree.value else {}
    return replace(made, resolved={**made.resolved, **added})


def with_words(tree: Node, words: Sequence[str]) -> Node:
    """The tree with all words set, in order. Raises RecipeError with the problems of all of them."""
    problems: list[Problem] = []
    for word in words:
        try:
            tree = override(tree, word)
        except RecipeError as error:
            problems += error.problems
    if problems:
        raise RecipeError(problems)
    return tree
