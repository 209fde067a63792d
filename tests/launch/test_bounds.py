"""Numbers under `train:` that train nothing, or the wrong way round, are refused before anything is loaded."""

import dataclasses

import pytest

from launch import RecipeError
from launch.bounds import bounds_of
from launch.load import load
from trainers.catalog import METHODS, STAGES

FREE = {
    "eval_delay", "local_rank", "vllm_server_port", "vllm_server_timeout", "vllm_group_port", "vllm_tensor_parallel_size",
    "f_alpha_divergence_coef", "ref_model_mixup_alpha", "ref_model_sync_steps", "sapo_temperature_neg",
    "sapo_temperature_pos", "vespo_k_pos", "vespo_lambda_pos", "vespo_k_neg", "vespo_lambda_neg", "entropy_coef",
    "entropy_coef_min", "entropy_coef_max", "entropy_coef_delta", "entropy_target", "vllm_importance_sampling_clip_max",
    "rloo_k", "min_p", "retain_micro_batch",
}  # fmt: skip
"""Numbers that any value may have, that TRL checks itself, or of what no stage reads."""


@pytest.mark.parametrize(
    ("recipe", "word", "said"),
    [
        ("smoke/dpo", "train.beta=0", "train.beta: 0: must be above 0"),
        ("smoke/dpo", "train.beta=-0.1", "train.beta: -0.1: must be above 0"),
        ("smoke/dpo", "train.label_smoothing=0.5", "label_smoothing: 0.5: must be at least 0 and below 0.5"),
        ("smoke/sft", "train.seed=-1", "train.seed: -1: must be a whole number from 0 to 4,294,967,295"),
        ("smoke/sft", "train.data_seed=4294967296", "train.data_seed: 4294967296: must be a whole number"),
        ("smoke/sft", "train.learning_rate=-1e-4", "train.learning_rate: -0.0001: must be 0 or more and finite"),
        ("smoke/cpt", "train.learning_rate=.inf", "train.learning_rate: inf: must be 0 or more and finite"),
        ("smoke/cpt", "train.max_steps=0", "train.max_steps: 0: must be 1 or more, or -1"),
        ("smoke/sft", "train.adam_beta2=1.0", "train.adam_beta2: 1.0: must be at least 0 and below 1"),
        ("unlearn/npo", "train.max_grad_norm=-1", "train.max_grad_norm: -1: must be 0 or more"),
        ("unlearn/npo", "train.per_device_train_batch_size=0", "per_device_train_batch_size: 0: must be 1 or more"),
        ("smoke/rlvr", "train.num_generations=1", "train.num_generations: 1: must be 2 or more"),
        ("smoke/rlvr", "train.temperature=0", "train.temperature: 0: must be above 0"),
        ("smoke/rlvr", "train.top_p=1.5", "train.top_p: 1.5: must be above 0 and at most 1"),
        ("smoke/rlvr", "train.beta=-0.01", "train.beta: -0.01: must be 0 or more"),
    ],
)
def test_a_number_that_cannot_train_is_refused(recipe: str, word: str, said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        load(recipe, [word])


def test_what_switches_a_term_off_stays_allowed() -> None:
    for recipe, word in (
        ("smoke/rlvr", "train.beta=0"),
        ("smoke/sft", "train.max_grad_norm=0"),
        ("smoke/sft", "train.weight_decay=0"),
        ("smoke/sft", "train.max_steps=-1"),
    ):
        load(recipe, [word])


def test_every_number_of_every_stage_has_a_bound_or_is_known_to_need_none() -> None:
    classes = {stage.arguments() for stage in STAGES.values()}
    classes |= {row.arguments() for row in METHODS.values() if row.arguments}
    for cls in classes:
        numbers = {
            field.name
            for field in dataclasses.fields(cls)
            if isinstance(field.default, int | float) and not isinstance(field.default, bool)
        }
        assert numbers <= bounds_of(cls).keys() | FREE, cls.__name__
