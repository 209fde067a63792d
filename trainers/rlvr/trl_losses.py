"""TRL's policy-gradient losses: rows that only name its arguments, and its trainer where that is another one.

Their settings are trl.GRPOConfig's own (RLOOConfig's for rloo), under `train:` (num_generations, beta, epsilon, ...).
"""

from typing import Any

from trainers.method import Method, NoOptions, Source


def _rloo_trainer() -> Any:
    from trainers.rlvr.trainer import LeaveOneOut

    return LeaveOneOut


def _rloo_arguments() -> type:
    from trl import RLOOConfig

    return RLOOConfig


ROWS: dict[str, Method[Any, Any]] = {
    "grpo": Method(
        stages=("rlvr",),
        config=NoOptions,
        about="group-relative policy optimisation: a mean over sequences, advantages divided by the group's spread",
        source=Source(arxiv="2402.03300", note="trl.GRPOConfig loss_type: grpo"),
        trl={"loss_type": "grpo"},
        defaults={"scale_rewards": "group"},
    ),
    "dr_grpo": Method(
        stages=("rlvr",),
        config=NoOptions,
        about="GRPO without its biases: no division by length, none by the group's spread",
        source=Source(arxiv="2503.20783", note="trl.GRPOConfig loss_type: dr_grpo"),
        trl={"loss_type": "dr_grpo"},
        defaults={"scale_rewards": "none"},
    ),
    "dapo": Method(
        stages=("rlvr",),
        config=NoOptions,
        about="GRPO with a mean over tokens, a higher upper clip, and no KL",
        source=Source(arxiv="2503.14476", note="trl.GRPOConfig loss_type: dapo"),
        trl={"loss_type": "dapo"},
        defaults={"epsilon_high": 0.28, "beta": 0.0, "mask_truncated_completions": True},
    ),
    "rloo": Method(
        stages=("rlvr",),
        config=NoOptions,
        about="REINFORCE with the mean of the other answers as baseline",
        source=Source(arxiv="2402.14740", note="trl.RLOOTrainer"),
        trainer=_rloo_trainer,
        arguments=_rloo_arguments,
    ),
}
