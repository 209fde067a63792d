"""From a loaded recipe to a trained checkpoint."""

import sys


class TrainError(ValueError):
    """What a person asked of a trainer cannot be done; the message names the key or file, the value and the remedy."""


def announce(line: str) -> None:
    """One line of progress to standard error, where the bars are too."""
    print(line, file=sys.stderr, flush=True)
