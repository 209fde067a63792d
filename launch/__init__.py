"""From a YAML and key=value to a validated recipe and a running command."""


class RecipeError(ValueError):
    """A recipe or a command line is wrong; each problem has its path, the value and the remedy, one a line."""
