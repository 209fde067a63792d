"""The tiny model's recipe, as the trainers' tests have it."""

from tests.trainers.conftest import recipe, recipe_file, tiny_folder

__all__ = ["recipe", "recipe_file", "tiny_folder"]
