"""From a YAML and key=value to a validated recipe and a running command."""

from launch.problems import Problem, RecipeError

__all__ = ["Problem", "RecipeError"]
