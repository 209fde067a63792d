"""lm-eval's tasks that have neither options nor answers: a text's likelihood, or a score that the task makes itself."""

from collections.abc import Mapping
from typing import Any

from eval_hooks.results.flips import written_flip
from eval_hooks.results.schemas import SCORE
from eval_hooks.tasks.kinds.kind import Kind, Row, metric_lines


def flip(before: Row, after: Row, asked: Mapping[str, Any]) -> dict[str, Any]:
    """The text's end, and its score before and after."""
    return written_flip(before, after, f"score {before['score']:.4g}", f"score {after['score']:.4g}")


KIND = Kind(schema=SCORE, flip=flip, show=metric_lines({}))
