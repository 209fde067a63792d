"""What the numbers and names of a recipe must be, by config class and key."""

from data_mix.config import SourceSpec
from data_mix.names import RULE, is_name
from eval_hooks import bounds
from eval_hooks.bounds import ABOVE_0, COUNT, SHARE, Bound
from trainers.recipe import LaunchSection

NAME = Bound(words=RULE, holds=is_name, of=str)

BOUNDS: dict[type, dict[str, Bound]] = {
    **bounds.BOUNDS,
    SourceSpec: {"name": NAME, "weight": ABOVE_0, "fraction": SHARE},
    LaunchSection: {"nproc": COUNT, "nnodes": COUNT},
}
