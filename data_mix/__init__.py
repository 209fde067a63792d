"""From named sources to the exact rows trained on, with a manifest."""


class DataError(ValueError):
    """A data set cannot be used as it is; the message names file:line or key, the value and the remedy."""
