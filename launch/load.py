"""The way in: a recipe's name and key=value words to a Recipe."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from launch.compose import override, read, text_of
from launch.nodes import Node, plain
from launch.problems import Problem, RecipeError
from launch.recipes import find_recipe
from launch.tables import Tables
from trainers.recipe import Pipeline, Recipe


def load(name: str, overrides: Sequence[str] = (), tables: Tables | None = None, *, plugins: bool = True) -> Recipe:
    """The recipe of one run: a path or a shipped bare name, with `a.b.0.c=value` words laid over it.

    Raises RecipeError with all problems: of the words, or else of the recipe; and for a pipeline.
    """
    loaded = load_any(name, overrides, tables, plugins=plugins)
    if isinstance(loaded, Pipeline):
        runs = ", ".join(str(stage.recipe.file) for stage in loaded.stages)
        raise RecipeError(f"recipe {name}: a pipeline; name one of its runs: {runs}")
    return loaded


def load_any(
    name: str, overrides: Sequence[str] = (), tables: Tables | None = None, *, plugins: bool = True
) -> Recipe | Pipeline:
    """The same, where the recipe may be a pipeline.

    Its plugins are run once nothing else is wrong with it; without `plugins` never, and a recipe that runs code of
    somebody else's in another way is refused.
    """
    from launch import code
    from launch.pipeline import validate_pipeline
    from launch.plugins import add_plugins, listed
    from launch.tables import shipped
    from launch.validate import validate

    file = find_recipe(name)
    tree = with_words(read(file), overrides)
    kind = validate_pipeline if "pipeline" in tree.value else validate
    make = partial(kind, tree, file, text_of(file), overrides)
    tables, files = tables or shipped(), listed(tree)
    if not plugins or not files:
        made = make(tables) if not files else _without_plugins(partial(make, tables))
        (code.say if plugins else code.refuse)(made.resolved)
        return made
    _check_the_rest(partial(make, tables))
    made = make(add_plugins(tree, tables))
    made = replace(made, resolved={**made.resolved, "plugins": plain(tree.value["plugins"])})
    code.say(made.resolved)
    return made


Make = Callable[[], Recipe | Pipeline]


def _check_the_rest(make: Make) -> None:
    """Raise RecipeError with what is wrong with a recipe apart from the rows that its plugins may bring."""
    from launch.plugins import not_for_plugins

    try:
        make()
    except RecipeError as error:
        if rest := not_for_plugins(error.problems):
            raise RecipeError(rest) from error


def _without_plugins(make: Make) -> Recipe | Pipeline:
    """The recipe; where it needs their rows, RecipeError says that they were left out."""
    try:
        return make()
    except RecipeError as error:
        text = "left out (--no-plugins), with the rows that they bring"
        raise RecipeError([*error.problems, Problem(path="plugins", text=text)]) from error


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
