"""The way in: a recipe's name and key=value words to a Recipe."""

from collections.abc import Sequence

from launch.compose import override, read
from launch.nodes import Node
from launch.problems import Problem, RecipeError
from launch.recipes import find_recipe
from launch.tables import Tables
from trainers.recipe import Recipe


def load(name: str, overrides: Sequence[str] = (), tables: Tables | None = None) -> Recipe:
    """The recipe of a path or a shipped bare name, with `a.b.0.c=value` words laid over it.

    Raises RecipeError with all problems: of the words, or else of the recipe.
    """
    from launch.validate import validate

    file = find_recipe(name)
    tree = with_words(read(file), overrides)
    return validate(tree, file, file.read_text("utf-8"), overrides, tables)


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
