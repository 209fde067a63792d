"""Arguments that change nothing are refused with the reason; every other one is known to be read."""

import re
from pathlib import Path

import pytest
import transformers
import trl

import trainers
from launch import RecipeError
from launch.fields import fields_of
from launch.habits import OWNED_TRAIN
from launch.load import load
from launch.unread import BY_LOSS, EVERYWHERE, OF_STAGE, OF_TRL, WHERE, reasons
from trainers.catalog import METHODS, STAGES

LIBRARIES = [Path(transformers.__file__).parent / name for name in (
    "trainer.py", "trainer_optimizer.py", "training_args.py", "trainer_callback.py", "integrations/deepspeed.py", "integrations/liger.py")]  # fmt: skip
OF_TRL_TRAINERS = {"cpt": "sft", "sft": "sft", "dpo": "dpo", "rlvr": "grpo"}
ELSEWHERE = {"ref_model_mixup_alpha", "ref_model_sync_steps"}
"""Read by TRL's callback that moves the reference."""
READ = r"(?:(?<=args\.)|(?<=arguments\.)|(?<=self\.))\w+"
OLD = {"use_transformers_paged", "vllm_importance_sampling_cap"}
"""Old names, which TRL's config class takes over into the new ones."""


@pytest.mark.parametrize(
    ("recipe", "word", "said"),
    [
        ("smoke/sft", "train.dataset_num_proc=4", "dataset_num_proc: 4: changes nothing: rows are tokenised in one"),
        ("smoke/dpo", "train.dataset_num_proc=4", "rows are tokenised in one process, once, and kept; remove it"),
        ("smoke/sft", "train.truncation_mode=keep_end", "a row that is too long ends after its last whole answer"),
        ("smoke/dpo", "train.truncation_mode=keep_end", "train.truncation_mode: keep_end: changes nothing"),
        ("smoke/cpt", "train.shuffle_dataset=true", "train.shuffle_dataset: True: changes nothing"),
        ("smoke/dpo", "train.padding_free=true", "TRL has switched it off for pairs"),
        ("smoke/sft", "train.dataset_text_field=body", "write columns: {text: NAME} in the source's entry"),
        ("smoke/sft", "train.per_device_eval_batch_size=2", "write batch_tokens in the task's entry"),
        ("unlearn/npo", "train.load_best_model_at_end=true", "write eval.keep"),
        ("dpo/sigmoid", "train.label_smoothing_factor=0.1", "only a loss of stage sft that is TRL's own"),
        ("sft/instruction_modelling", "train.label_smoothing_factor=0.1", "the method computes its own loss"),
        ("dpo/simpo", "train.beta=0.3", "train.beta: 0.3: changes nothing: is TRL's; the method computes its own loss"),
        ("dpo/simpo", "train.precompute_ref_log_probs=true", "the method compares with no reference"),
        ("dpo/sigmoid", "train.label_smoothing=0.1", "read by exo_pair and robust and aot and aot_unpaired only"),
        ("smoke/rlvr", "train.vllm_gpu_memory_utilization=0.5", "read only with train.use_vllm: true"),
        ("smoke/rlvr", "train.num_completions_to_print=2", "read only with train.log_completions: true"),
        ("smoke/rlvr", "train.ref_model_sync_steps=7", "read only with train.sync_ref_model: true"),
        ("smoke/cpt", "train.completion_only_loss=true", "all tokens of a text are trained"),
        ("smoke/sft", "train.save_strategy=best", "save_strategy: best: no checkpoint is ever saved"),
        ("smoke/sft", "train.packing_strategy=wrapped", "read only with train.packing: true"),
        ("smoke/sft", "train.bf16_full_eval=true", "evaluations compute as training does"),
    ],
)
def test_what_changes_nothing_is_refused_with_what_would(recipe: str, word: str, said: str) -> None:
    with pytest.raises(RecipeError, match=re.escape(said)):
        load(recipe, [word])


def test_a_default_may_be_written_and_what_is_read_is_taken() -> None:
    for recipe, *words in (
        ("smoke/sft", "train.dataset_num_proc=null", "train.truncation_mode=keep_start", "train.label_smoothing_factor=0.1"),
        ("smoke/sft", "train.packing=true", "train.packing_strategy=wrapped", "train.max_length=64"),
        ("dpo/robust", "train.label_smoothing=0.2"),
        ("dpo/simpo", "train.beta=0.1"),
        ("smoke/dpo", "train.precompute_ref_log_probs=true", "train.precompute_ref_batch_size=4"),
        ("smoke/rlvr", "train.use_vllm=true", "train.vllm_gpu_memory_utilization=0.5", "train.shuffle_dataset=false"),
        ("smoke/rlvr", "train.log_completions=true", "train.num_completions_to_print=2"),
    ):  # fmt: skip
        load(recipe, words)


@pytest.mark.parametrize("stage", STAGES)
def test_every_argument_is_read_by_somebody_or_refused(stage: str) -> None:
    """By the library's trainer or ours: `args.NAME`, or the name in quotes. A new one of a new version fails here."""
    files = [*LIBRARIES, *Path(trainers.__file__).parent.rglob("*.py")]
    if stage in OF_TRL_TRAINERS:
        files.append(Path(trl.__file__).parent / "trainer" / f"{OF_TRL_TRAINERS[stage]}_trainer.py")
    text = "\n".join(file.read_text("utf-8") for file in files)
    read = set(re.findall(READ, text)) | set(re.findall(r'"(\w+)"', text))
    of_methods = {row.arguments() for row in METHODS.values() if row.arguments and stage in row.stages}
    for cls in {STAGES[stage].arguments(), *of_methods}:
        own = Path(trl.__file__).parent / "trainer" / f"{cls.__name__.removesuffix('Config').lower()}_trainer.py"
        also = set(re.findall(READ, own.read_text("utf-8"))) if own.is_file() else set()
        left = fields_of(cls).keys() - OWNED_TRAIN.keys() - reasons(stage, None).keys() - ELSEWHERE - OLD
        assert left <= read | also, left - read - also


def test_the_tables_name_arguments_that_there_are() -> None:
    """And none that is set elsewhere: its row there says more."""
    names = {stage: set(fields_of(row.arguments())) for stage, row in STAGES.items()}
    every = set().union(*names.values())
    assert EVERYWHERE.keys() | set(OF_TRL) | WHERE.keys() | BY_LOSS.keys() | {key for key, _ in WHERE.values()} <= every
    for stage, table in OF_STAGE.items():
        assert table.keys() <= names[stage] and not table.keys() & OWNED_TRAIN.keys()
    assert not EVERYWHERE.keys() & OWNED_TRAIN.keys()
