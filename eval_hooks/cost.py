"""What measuring costs beside training: seconds of both, so far. Kept on the writing rank."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any


class Cost:
    """Two clocks: while a model trains, and while it is measured between step 0 and the end.

    The passes at step 0 and at the end are whole whatever they cost, and do not count. `before` is a resumed run's last
    entry.
    """

    def __init__(self, limit: float | None = None, before: Mapping[str, Any] | None = None) -> None:
        self.limit = limit
        """Share of the training seconds that those evaluations may take together."""
        self.measured = float((before or {}).get("evaluation_seconds", 0.0))
        self.trained = float((before or {}).get("training_seconds", 0.0))
        self._mark = time.monotonic()

    @contextmanager
    def measuring(self, counts: bool) -> Iterator[None]:
        """Around an evaluation; the training clock stands still."""
        self.trained += self._lap()
        try:
            yield
        finally:
            seconds = self._lap()
            self.measured += seconds if counts else 0.0

    def used_up(self) -> bool:
        """Whether an evaluation that is under way has taken what there was."""
        if self.limit is None:
            return False
        return self.measured + time.monotonic() - self._mark > self.limit * self.trained

    def entry(self) -> dict[str, Any]:
        """What a summary says."""
        return {
            "training_seconds": round(self.trained, 3),
            "evaluation_seconds": round(self.measured, 3),
            "share_of_training": round(self.measured / self.trained, 4) if self.trained else None,
        }

    def _lap(self) -> float:
        now = time.monotonic()
        seconds, self._mark = now - self._mark, now
        return seconds
