"""What the numbers and names of a recipe must be, by config class and key."""

from data_mix.config import SourceSpec
from data_mix.names import RULE, is_name
from eval_hooks.config import TASK_RULE, Budget, EvalConfig, Kl, Lr, Replay, TaskSpec, is_task_name
from launch.typed import Bound
from trainers.recipe import LaunchSection

ABOVE_0 = Bound(words="above 0", holds=lambda value: value > 0)
COUNT = Bound(words="1 or more", holds=lambda value: value >= 1)
NOT_NEGATIVE = Bound(words="0 or more", holds=lambda value: value >= 0)
SHARE = Bound(words="between 0 and 1, both excluded", holds=lambda value: 0 < value < 1)
MARGIN = Bound(words="at least 0 and below 1", holds=lambda value: 0 <= value < 1)
EVERY = Bound(
    words="a whole number of steps, a fraction of the run between 0 and 1, or epoch",
    holds=lambda value: 0 < value < 1 or (isinstance(value, int) and value >= 1),
)

NAME = Bound(words=RULE, holds=is_name, of=str)
TASK_NAME = Bound(words=TASK_RULE, holds=lambda name: name == "" or is_task_name(name), of=str)

BOUNDS: dict[type, dict[str, Bound]] = {
    SourceSpec: {"name": NAME, "weight": ABOVE_0, "fraction": SHARE},
    TaskSpec: {
        "name": TASK_NAME,
        "shots": NOT_NEGATIVE,
        "limit": COUNT,
        "max_new_tokens": COUNT,
        "batch_tokens": COUNT,
    },
    EvalConfig: {"every": EVERY, "margin": MARGIN, "samples": NOT_NEGATIVE, "cost_limit": ABOVE_0},
    Budget: {
        "accuracy_drop": SHARE,
        "ece_rise": SHARE,
        "target_floor": SHARE,
        "confidence": SHARE,
        "final_share": SHARE,
        "patience": COUNT,
        "most": COUNT,
    },
    Replay: {"share": SHARE},
    Kl: {"weight": ABOVE_0},
    Lr: {"factor": SHARE},
    LaunchSection: {"nproc": COUNT, "nnodes": COUNT},
}
