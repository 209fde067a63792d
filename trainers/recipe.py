"""A loaded recipe: what a person wrote, checked, typed and complete. Nothing here is changed after loading."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from data_mix.config import DataConfig
from eval_hooks.config import EvalConfig
from eval_hooks.names import RULE, is_name
from trainers import TrainError


@dataclass(frozen=True, kw_only=True)
class ModelSection:
    """Which model, and how it is loaded; every key reaches every place that loads it."""

    path: str
    """Hub id, folder, adapter folder, an embedded name, or RUN:STEP."""
    revision: str | None = None
    """Branch, tag or commit of a hub id."""
    trust_remote_code: bool = False
    """Run the Python code that comes with the model."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Type of the weights in memory; auto is the checkpoint's own."""
    attn_implementation: str | None = None
    """sdpa, eager, flash_attention_2, flash_attention_3; default the model's own."""
    chat_template: str | None = None
    """A Jinja file, or the template text itself, in place of the tokenizer's own."""
    chat_template_kwargs: Mapping[str, Any] = field(default_factory=dict)
    """Passed to the template at every rendering, as {enable_thinking: false}."""
    eos_token: str | None = None
    """End of turn, where the tokenizer's own is not what answers should end with."""
    pad_token: str | None = None
    """Padding token; default the tokenizer's, else the end token."""
    add_tokens: tuple[str, ...] = ()
    """New tokens: embeddings are resized and the new rows trained."""
    force_bf16_weights: bool = False
    """Train bf16 weights without fp32 master weights although small updates are then lost (measured)."""


@dataclass(frozen=True, kw_only=True)
class AdapterSection:
    """What is trained: everything (none), or a LoRA."""

    kind: Literal["none", "lora", "qlora"] = "none"
    options: Mapping[str, Any] = field(default_factory=dict)
    """peft.LoraConfig's own names and values."""


@dataclass(frozen=True, kw_only=True)
class MethodSection:
    """The loss and its hyperparameters."""

    name: str
    config: Any = None
    """An instance of the method's config dataclass."""


@dataclass(frozen=True, kw_only=True)
class WandbSection:
    """Where W&B keeps the run; WANDB_* variables win over `mode` and are honoured for the rest."""

    project: str = "tempering"
    mode: Literal["online", "offline", "disabled"] = "offline"
    entity: str | None = None
    group: str | None = None
    tags: tuple[str, ...] = ()
    name: str | None = None


@dataclass(frozen=True, kw_only=True)
class LaunchSection:
    """What `temper launch` starts where its options do not say."""

    nproc: int | Literal["auto"] = 1
    """Ranks on each machine; auto: one for each visible GPU."""
    nnodes: int = 1
    """Machines."""
    launcher: Literal["torchrun", "deepspeed", "accelerate", "slurm"] = "torchrun"
    """What starts the ranks, as --with."""
    sbatch: Mapping[str, Any] = field(default_factory=dict)
    """Options of Slurm's sbatch, by its own names: {partition: gpu, time: "12:00:00"}."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One run."""

    name: str
    """The recipe file's stem, with `-` for what a name may not have: the run folder's default name."""
    file: Path
    """Where it was read."""
    text: str
    """The recipe file as written, for the run folder."""
    overrides: tuple[str, ...] = ()
    """The key=value words of the command line."""
    stage: str
    model: ModelSection
    adapter: AdapterSection = field(default_factory=AdapterSection)
    method: MethodSection
    data: DataConfig
    train: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of the stage's TRL/transformers config class, checked against it; without the suite's own keys."""
    global_batch_size: int | None = None
    """Rows per optimizer step over all ranks; gradient accumulation follows from it."""
    skip_bad_batches: int = 0
    """How many batches whose loss is no number may be left out before the run stops."""
    deepspeed: Path | None = None
    """The DeepSpeed JSON, resolved."""
    eval: EvalConfig = field(default_factory=EvalConfig)
    wandb: WandbSection | None = None
    tensorboard: bool = False
    """Whether TensorBoard's files are written as well."""
    launch: LaunchSection = field(default_factory=LaunchSection)
    resolved: Mapping[str, Any] = field(default_factory=dict)
    """The same as plain data: what recipe.resolved.json and W&B's config hold."""


@dataclass(frozen=True, kw_only=True)
class PipelineStage:
    """One run of a pipeline; it starts from what the run before it recommends."""

    name: str
    recipe: Recipe

    def __post_init__(self) -> None:
        """Refuse a name that could not be a folder's: a pipeline may have been read from somebody's run folder."""
        if not is_name(self.name):
            raise TrainError(f"pipeline: run name {self.name!r}: {RULE}")


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    """Several runs on one model: one folder, one axis of steps, one report."""

    name: str
    file: Path
    text: str
    overrides: tuple[str, ...] = ()
    stages: tuple[PipelineStage, ...]
    wandb: WandbSection | None = None
    resolved: Mapping[str, Any] = field(default_factory=dict)


def runs_of(recipe: Recipe | Pipeline) -> list[Recipe]:
    """The recipes of a pipeline's runs, or the one."""
    return [stage.recipe for stage in recipe.stages] if isinstance(recipe, Pipeline) else [recipe]
