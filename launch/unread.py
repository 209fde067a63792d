"""Arguments under `train:` that a library has and nobody reads here: said, instead of passed over in silence.

A run lays rows out, measures and logs by itself, so what configures the libraries' ways of doing so changes nothing.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from launch.fields import Field, fields_of
from launch.nodes import Node
from launch.typed import INVALID, Report, join
from trainers.dpo import trl_losses as dpo
from trainers.method import Method
from trainers.rlvr import trl_losses as rlvr

BY_TOKENS = "evaluations fill batches by tokens; write batch_tokens in the task's entry"
OWN_EVALUATION = "evaluations are the suite's own; remove it, see eval.target and eval.retain"
IN_16_BITS = "evaluations compute as training does; remove it, see train.bf16"
TRACKIO = "nothing is sent to trackio; write track.wandb"
ROWS = "rows come rendered and tokenised from the data section"
ONE_PROCESS = "rows are tokenised in one process, once, and kept; remove it"
CUT = "a row that is too long ends after its last whole answer, else it is left out; remove it"
OWN_LENGTHS = "lengths are counted on the tokens; remove it"
TRAINED = "all tokens of a text are trained; remove it, or write stage: sft"
WITHOUT_TOOLS = "no tools are called; remove it"
AVERAGED = "the stage's loss says itself what it is divided by; remove it"
SMOOTHED = "only a loss of stage sft that is TRL's own smooths its labels; remove it"

EVERYWHERE: dict[str, str] = {
    "per_device_eval_batch_size": BY_TOKENS,
    **dict.fromkeys(("eval_accumulation_steps", "eval_do_concat_batches", "eval_use_gather_object"), OWN_EVALUATION),
    **dict.fromkeys(("batch_eval_metrics", "include_for_metrics", "prediction_loss_only"), OWN_EVALUATION),
    **dict.fromkeys(("eval_delay", "label_names"), OWN_EVALUATION),
    **dict.fromkeys(("bf16_full_eval", "fp16_full_eval"), IN_16_BITS),
    "load_best_model_at_end": "`best` in the run folder points to the best checkpoint; write eval.keep",
    "fsdp_config": "train.fsdp is not supported; write deepspeed: zero3",
    "project": "write track.wandb.project",
    **dict.fromkeys(("trackio_space_id", "trackio_bucket_id", "trackio_static_space_id"), TRACKIO),
    "length_column_name": OWN_LENGTHS,
    "dataset_num_proc": ONE_PROCESS,
    "dataset_text_field": f"{ROWS}; write columns: {{text: NAME}} in the source's entry",
    "truncation_mode": CUT,
}
"""Argument -> why it changes nothing, and what does; in every stage that has it."""
_TEXTS = {"shuffle_dataset": f"{ROWS}, and are drawn anew in each epoch; see train.seed, train.train_sampling_strategy"}
_GROUPS = {"label_smoothing_factor": SMOOTHED, "average_tokens_across_devices": AVERAGED}
OF_STAGE: dict[str, dict[str, str]] = {
    "cpt": {**_TEXTS, **dict.fromkeys(("completion_only_loss", "assistant_only_loss"), TRAINED)},
    "sft": _TEXTS,
    "dpo": {**_GROUPS, "padding_free": "TRL has switched it off for pairs; remove it"},
    "rlvr": {
        **_GROUPS,
        "num_generations_eval": OWN_EVALUATION,
        "max_tool_calling_iterations": WITHOUT_TOOLS,
        "log_multimodal": "prompts are text; remove it",
        "log_unique_prompts": "completions are written to the run folder, not to W&B's table; remove it",
    },
    "unlearn": {**_GROUPS, "remove_unused_columns": f"{ROWS}; remove it"},
}
"""The same, by stage."""
OF_TRL = (
    "beta", "label_smoothing", "label_smoothing_factor", "f_divergence_type", "f_alpha_divergence_coef", "ld_alpha",
    "loss_weights", "use_weighting", "discopop_tau", "sync_ref_model", "ref_model_sync_steps", "ref_model_mixup_alpha",
    "precompute_ref_batch_size", "router_aux_loss_coef",
)  # fmt: skip
"""Arguments of TRL's losses, which a method's own step takes no notice of."""
WHERE: dict[str, tuple[str, Any]] = {
    "packing_strategy": ("packing", True),
    "precompute_ref_batch_size": ("precompute_ref_log_probs", True),
    **dict.fromkeys(("ref_model_sync_steps", "ref_model_mixup_alpha"), ("sync_ref_model", True)),
    "num_completions_to_print": ("log_completions", True),
    "f_alpha_divergence_coef": ("f_divergence_type", "alpha_divergence"),
    **dict.fromkeys(
        ("entropy_coef_min", "entropy_coef_max", "entropy_coef_delta", "entropy_target"), ("use_adaptive_entropy", True)
    ),
    **dict.fromkeys(("vllm_mode", "vllm_structured_outputs_regex"), ("use_vllm", True)),
    **dict.fromkeys(("vllm_server_base_url", "vllm_server_host", "vllm_server_port"), ("vllm_mode", "server")),
    **dict.fromkeys(("vllm_server_timeout", "vllm_group_port"), ("vllm_mode", "server")),
    **dict.fromkeys(("vllm_gpu_memory_utilization", "vllm_tensor_parallel_size"), ("vllm_mode", "colocate")),
    **dict.fromkeys(("vllm_max_model_length", "vllm_enable_sleep_mode"), ("vllm_mode", "colocate")),
    "vllm_model_impl": ("vllm_mode", "colocate"),
    "liger_kernel_config": ("use_liger_kernel", True),
}
"""Argument -> the one beside it, and its value, without which nobody reads it."""
BY_LOSS = {**dpo.READ_BY, **rlvr.READ_BY}
VALUES: dict[tuple[str, str], str] = {
    ("save_strategy", "best"): "no checkpoint is ever saved, since TRL measures nothing; remove it, see eval.keep",
}
"""(argument, value) -> why this value changes nothing, or takes all away."""


def reasons(stage: str, method: Method[Any, Any] | None) -> Mapping[str, str]:
    """Argument -> why nobody reads it in a run of this stage and method, and what to do."""
    found = {**EVERYWHERE, **OF_STAGE.get(stage, {})}
    if losses := _losses(method):
        found |= {key: f"read by {' and '.join(readers)} only (method.name); remove it"
                  for key, readers in BY_LOSS.items() if not losses & set(readers)}  # fmt: skip
    if method is not None and method.step is not None:
        own = "is TRL's; the method computes its own loss, whose keys stand under method"
        found |= dict.fromkeys(OF_TRL, own)
        if method.models is None:
            found["precompute_ref_log_probs"] = "the method compares with no reference; remove it"
    return found


def _losses(method: Method[Any, Any] | None) -> set[str]:
    """TRL's loss types of a method; none where it has a loss of its own."""
    named = method.trl.get("loss_type", ()) if method is not None else ()
    return {named} if isinstance(named, str) else set(named)


def check(
    node: Node, train: Any, stage: str, method: Method[Any, Any] | None, stage_class: type | None, report: Report
) -> None:
    """Report every argument whose value is another than its default and changes nothing."""
    if stage_class is None or not isinstance(train, Mapping):
        return
    fields = fields_of(stage_class)
    for key, text in _found(train, fields, reasons(stage, method), method.defaults if method else {}):
        report.add(join("train", key), node.value[key], text)


def _found(
    train: Mapping[str, Any], fields: Mapping[str, Field], why: Mapping[str, str], defaults: Mapping[str, Any]
) -> Iterator[tuple[str, str]]:
    for key, value in train.items():
        if key not in fields or value is INVALID or value is None or value == fields[key].default:
            continue
        if text := VALUES.get((key, str(getattr(value, "value", value)))):
            yield key, f"{value}: {text}"
        elif key in why:
            yield key, f"{value}: changes nothing: {why[key]}"
        elif key in WHERE and (other := _missing(key, train, fields, defaults)):
            name, due = other
            yield key, f"{value}: read only with train.{name}: {str(due).lower()}; add that, or remove this"


def _missing(
    key: str, train: Mapping[str, Any], fields: Mapping[str, Field], defaults: Mapping[str, Any]
) -> tuple[str, Any] | None:
    """The argument that is not as it must be for `key` to be read, which may itself hang on another."""
    while key in WHERE:
        name, due = WHERE[key]
        if name not in fields:
            return None
        if train.get(name, defaults.get(name, fields[name].default)) != due:
            return name, due
        key = name
    return None
