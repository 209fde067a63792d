"""What the numbers and names of the `eval:` section must be, by config class and key."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from eval_hooks.config import TASK_RULE, Budget, EvalConfig, Kl, Lr, Replay, TaskSpec, is_task_name


@dataclass(frozen=True, kw_only=True)
class Bound:
    """What a value must be, in words and as a test."""

    words: str
    holds: Callable[[Any], bool]
    of: type | tuple[type, ...] = (int, float)
    """What it speaks of; a value of another type is none of its business."""

    def refuses(self, value: Any) -> bool:
        """Whether it speaks of this value and does not hold; NaN is in no bound."""
        return isinstance(value, self.of) and not isinstance(value, bool) and not self.holds(value)


ABOVE_0 = Bound(words="above 0", holds=lambda value: 0 < value < float("inf"))
COUNT = Bound(words="1 or more", holds=lambda value: value >= 1)
NOT_NEGATIVE = Bound(words="0 or more", holds=lambda value: value >= 0)
SHARE = Bound(words="between 0 and 1, both excluded", holds=lambda value: 0 < value < 1)
MARGIN = Bound(words="at least 0 and below 1", holds=lambda value: 0 <= value < 1)
EVERY = Bound(
    words="a whole number of steps, a fraction of the run between 0 and 1, or epoch",
    holds=lambda value: 0 < value < 1 or (isinstance(value, int) and value >= 1),
)
TASK_NAME = Bound(words=TASK_RULE, holds=lambda name: name == "" or is_task_name(name), of=str)

BOUNDS: dict[type, dict[str, Bound]] = {
    TaskSpec: {
        "name": TASK_NAME,
        "shots": NOT_NEGATIVE,
        "limit": COUNT,
        "max_new_tokens": COUNT,
        "batch_tokens": COUNT,
    },
    EvalConfig: {"every": EVERY, "margin": MARGIN, "samples": NOT_NEGATIVE, "cost_limit": ABOVE_0},
    Budget: {
        "accuracy_drop": MARGIN,
        "ece_rise": MARGIN,
        "target_floor": SHARE,
        "confidence": SHARE,
        "final_share": SHARE,
        "patience": COUNT,
        "most": COUNT,
    },
    Replay: {"share": SHARE},
    Kl: {"weight": ABOVE_0},
    Lr: {"factor": SHARE},
}
