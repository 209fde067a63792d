"""From a loaded recipe to a trained checkpoint."""

import sys
from contextlib import suppress

from eval_hooks.masking import masked_message
from eval_hooks.visible import visible


class TrainError(ValueError):
    """What a person asked of a trainer cannot be done; the message names the key or file, the value and the remedy."""


def announce(line: str) -> None:
    """One line of progress to standard error, where the bars are too; what it quotes begins no line of its own."""
    announce_all(line.replace("\n", "\n          "))


def announce_all(text: str) -> None:
    """Several lines, as a traceback has; a screen that is gone changes nothing."""
    with suppress(OSError, ValueError):  # ValueError: a stream that was closed
        print(visible(masked_message(text)), file=sys.stderr, flush=True)
