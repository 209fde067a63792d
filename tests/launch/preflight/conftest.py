"""The tiny model's recipes, as the trainers' tests have them."""

from tests.trainers.conftest import recipe, recipe_file, tiny_folder

__all__ = ["recipe", "recipe_file", "tiny_folder"]
