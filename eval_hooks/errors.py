"""The one error that a person's mistake raises in this package."""


class EvalError(ValueError):
    """A measurement cannot be made as asked; the message names the task or file, the value and the remedy."""
