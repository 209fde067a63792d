"""From a YAML and key=value to a validated recipe and a running command."""

from launch.itself import keep_to_itself

keep_to_itself()

from launch.problems import Problem, RecipeError  # noqa: E402 - imports of the suite's own, which have to be those

__all__ = ["Problem", "RecipeError"]
