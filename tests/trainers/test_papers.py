"""A method's row alone is its paper's loss; what a recipe says goes before it; shipped recipes stay as measured."""

from collections.abc import Callable
from typing import Any

import pytest

from launch.listing import listing
from launch.load import load_any
from launch.recipes import names
from trainers.arguments import training_arguments
from trainers.catalog import METHODS
from trainers.recipe import Recipe, runs_of
from trainers.reference import compared

Load = Callable[..., Recipe]
PAPERS: dict[str, dict[str, Any]] = {
    "grpo": {
        "loss_type": "grpo", "beta": 0.04, "use_bias_correction_kl": False, "scale_rewards": "group",
        "num_iterations": 1,
    },
    "dr_grpo": {"loss_type": "dr_grpo", "beta": 0.0, "scale_rewards": "none"},
    "dapo": {
        "loss_type": "dapo", "beta": 0.0, "epsilon": 0.2, "epsilon_high": 0.28, "scale_rewards": "group",
        "mask_truncated_completions": True,
    },
    "rloo": {"beta": 0.03, "num_iterations": 1, "normalize_advantages": False},
    "sigmoid": {"beta": 0.1, "label_smoothing": 0.0},
    "exo_pair": {"beta": 0.1, "label_smoothing": 1e-3},
    "nca_pair": {"beta": 0.01},
    "robust": {"beta": 0.1, "label_smoothing": 0.1},
    "bco_pair": {"beta": 0.1},
    "sppo_hard": {"beta": 0.001},
    "apo_zero": {"beta": 0.1},
    "apo_down": {"beta": 0.1},
    "discopop": {"beta": 0.05, "discopop_tau": 0.05},
    "rpo": {"beta": 0.1, "loss_weights": [1.0, 1.0]},
}  # fmt: skip
"""As the papers say, or their authors' code; where stands in the rows."""
OF_STAGE = {
    "rlvr": ("stage=rlvr", "data.train=[{source: curriculum, n: 8}]", "train.num_generations=4"),
    "dpo": ("stage=dpo", "data.train=[{source: sql_pairs, n: 8}]"),
}


def of(recipe: Load, name: str, *words: str) -> Recipe:
    return recipe(*OF_STAGE[METHODS[name].stages[0]], f"method.name={name}", *words)


@pytest.mark.parametrize("name", PAPERS)
def test_a_row_alone_sets_what_its_paper_says(recipe: Load, name: str) -> None:
    made = of(recipe, name)
    arguments = training_arguments(made)
    assert {key: getattr(arguments, key) for key in PAPERS[name]} == PAPERS[name]
    if METHODS[name].stages == ("rlvr",):
        assert ("start" in compared(made)) == (PAPERS[name]["beta"] > 0)


def test_a_recipe_may_say_otherwise(recipe: Load) -> None:
    """GRPO without KL has no reference either."""
    made = of(recipe, "grpo", "train.beta=0", "train.num_iterations=2")
    assert (training_arguments(made).beta, training_arguments(made).num_iterations) == (0.0, 2)
    assert not compared(made)


@pytest.mark.parametrize(
    "name", [name for name in names() if name.startswith(("rlvr/", "dpo/", "smoke/", "pipelines/"))]
)
def test_a_shipped_recipe_writes_its_beta_out(name: str) -> None:
    """0 under rlvr, where all were measured without KL, and DPO's 0.1: no row's default reaches them."""
    for run in runs_of(load_any(name)):
        if run.stage in OF_STAGE and run.method.name != "simpo":
            assert run.train["beta"] == (0.01 if name == "dpo/zephyr-7b" else {"rlvr": 0.0, "dpo": 0.1}[run.stage])


def test_the_list_of_methods_shows_what_a_row_sets() -> None:
    lines = dict(listing("methods"))
    assert lines["grpo"].endswith("sets train.beta 0.04, train.use_bias_correction_kl False, train.scale_rewards group, "
                                  "train.num_iterations 1")  # fmt: skip
    assert lines["npo"].endswith("sets method.gamma 1.0, method.alpha 1.0, method.retain nll, method.beta 0.1")
    assert "sets" not in lines["nll"]
