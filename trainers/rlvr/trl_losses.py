"""TRL's policy-gradient losses: rows that only name its arguments, and its trainer where that is another one.

Their settings are trl.GRPOConfig's own (RLOOConfig's for rloo), under `train:` (num_generations, beta, epsilon, ...).
`defaults` are what the cited paper says of the loss, where TRL's default is another or could become one: where the
paper is silent nothing is set. How much is sampled, for how long and at which rate is the recipe's to say.

grpo      DeepSeekMath, equation 3, sections 4.1.2 (advantages divided by the group's standard deviation) and 4.2
          (beta 0.04, one update on each sample); its KL is equation 4's estimator, which TRL multiplies by the ratio
          to the sampling policy where use_bias_correction_kl is left true (DeepSeek-V3.2). No epsilon is given; TRL's
          is PPO's 0.2.
dr_grpo   section 3: beta 0 throughout the paper; 3.2: no division by the spread; by length TRL divides with
          max_completion_length, a constant, as the authors' code does.
dapo      sections 2.3 (no KL), 3.1 and 4.1 (clips 0.2 and 0.28), 3.4 (answers that were cut off are left out); the
          group's spread as in GRPO. Not done: dynamic sampling, which TRL has not, and the soft punishment of long
          answers, which in TRL is a reward.
rloo      appendix C: beta 0.03 (TL;DR; 0.1 on HH), two steps on a batch, each on half of it; equation 3: the KL is
          inside the reward, on the whole sequence; nothing is normalised.
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
        source=Source(arxiv="2402.03300", note="equation 3, sections 4.1.2 and 4.2; trl.GRPOConfig loss_type: grpo"),
        trl={"loss_type": "grpo"},
        defaults={"beta": 0.04, "use_bias_correction_kl": False, "scale_rewards": "group", "num_iterations": 1},
    ),
    "dr_grpo": Method(
        stages=("rlvr",),
        config=NoOptions,
        about="GRPO without its biases: no division by length, none by the group's spread",
        source=Source(arxiv="2503.20783", note="section 3; trl.GRPOConfig loss_type: dr_grpo"),
        trl={"loss_type": "dr_grpo"},
        defaults={"beta": 0.0, "scale_rewards": "none"},
    ),
    "dapo": Method(
        stages=("rlvr",),
        config=NoOptions,
        about="GRPO with a mean over tokens, a higher upper clip, and no KL",
        source=Source(arxiv="2503.14476", note="sections 2.3, 3 and 4.1; trl.GRPOConfig loss_type: dapo"),
        trl={"loss_type": "dapo"},
        defaults={
            "beta": 0.0,
            "epsilon": 0.2,
            "epsilon_high": 0.28,
            "scale_rewards": "group",
            "mask_truncated_completions": True,
        },
    ),
    "rloo": Method(
        stages=("rlvr",),
        config=NoOptions,
        about="REINFORCE with the mean of the other answers as baseline",
        source=Source(arxiv="2402.14740", note="appendix C; trl.RLOOTrainer"),
        defaults={"beta": 0.03, "num_iterations": 1, "normalize_advantages": False},
        trainer=_rloo_trainer,
        arguments=_rloo_arguments,
    ),
}
READ_BY = {
    **dict.fromkeys(("sapo_temperature_neg", "sapo_temperature_pos"), ("sapo",)),
    **dict.fromkeys(("vespo_k_pos", "vespo_k_neg", "vespo_lambda_pos", "vespo_lambda_neg"), ("vespo",)),
}
"""Argument -> the loss types that read it, where others do not."""
