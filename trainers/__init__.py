"""From a loaded recipe to a trained checkpoint."""

import sys

from eval_hooks.masking import masked_message


class TrainError(ValueError):
    """What a person asked of a trainer cannot be done; the message names the key or file, the value and the remedy."""


def announce(line: str) -> None:
    """One line of progress to standard error, where the bars are too."""
    print(masked_message(line), file=sys.stderr, flush=True)
