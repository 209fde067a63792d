"""The `eval:` section of a recipe, typed; also what CheckpointEval takes from a script."""

from dataclasses import dataclass, field
from typing import Any, Literal

Variant = Literal["hendrycks", "lm_eval", "olmes_mcf", "olmes_cf"]
Role = Literal["target", "retain"]
SHOTS = 5
MARGIN = 0.02
"""Loss that counts as none where nothing else is said."""


@dataclass(frozen=True, kw_only=True)
class TaskSpec:
    """One entry of `eval.target` or `eval.retain`."""

    task: str
    """A row of `eval_hooks.catalog.TASKS`; `lm_eval:NAME` is a task of lm-evaluation-harness."""
    name: str = ""
    """How tables, keys and pictures call it (default: the task's name; of `lm_eval:NAME` it is NAME)."""
    variant: Variant = "lm_eval"
    """Prompt and scoring of a multiple-choice task."""
    shots: int | None = None
    """Solved examples before each question: the subject's first dev rows (default 5), or as an lm-eval task draws them
    (default: its own number)."""
    split: str = "test"
    """Which rows are scored."""
    path: str | None = None
    """Folder or file with the items; without it the hub copy or the embedded bank."""
    subjects: tuple[str, ...] = ()
    """Only these subjects, in this order; empty means all."""
    limit: int | None = None
    """At most this many items: the first ones of each subject in turn, so that every subject is there."""
    chat_template: bool = False
    """Wrap the prompt in the model's chat template."""
    fewshot_as_multiturn: bool = True
    """With a chat template: solved examples as turns, as lm-eval has it by default, or all in the question's turn."""
    max_new_tokens: int = 32
    """Longest answer of a generative task, in tokens."""
    batch_tokens: int = 1024
    """Tokens of one forward pass while scoring options; memory, not results, depends on it."""
    goal: Literal["up", "down"] = "up"
    """What success is: an answer that is learned, or (unlearning) one that is forgotten."""
    include_path: str | None = None
    """Folder with your own YAML tasks for lm-eval."""
    metric: str | None = None
    """Metric of an lm-eval task that decides whether an item is right, as `acc_norm` or `exact_match,flexible-extract`
    (default: the first it lists of acc, acc_norm, exact_match, under its first filter)."""
    rows: Any = None
    """For a task whose items are rows of a data source: which source, with its keys; read by the caller."""

    @property
    def called(self) -> str:
        """Its name, with the default resolved."""
        return self.name or self.task.rpartition(":")[2]

    @property
    def named(self) -> bool:
        """Whether it is one of many tasks of its row, as `lm_eval:NAME`."""
        return ":" in self.task

    @property
    def n_shots(self) -> int:
        """Solved examples of a task of ours, with the default resolved."""
        return SHOTS if self.shots is None else self.shots


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What may be lost before something happens: only a loss that the interval proves counts."""

    accuracy_drop: float | None = None
    ece_rise: float | None = None
    action: Literal["report", "stop"] = "report"


@dataclass(frozen=True, kw_only=True)
class EvalConfig:
    """The whole `eval:` section."""

    every: int | float | Literal["epoch"] | None = None
    """Steps (whole number), fraction of the run (0 to 1) or `epoch`; None: only at step 0 and at the end."""
    target: tuple[TaskSpec, ...] = ()
    """What the run is for."""
    retain: tuple[TaskSpec, ...] = ()
    """What must not be lost; paired with step 0."""
    margin: float | None = None
    """What may be lost and still be called kept; default budget.accuracy_drop, else 0.02."""
    budget: Budget = field(default_factory=Budget)
    on_error: Literal["report", "stop"] = "report"
    samples: int = 8
    """Generations kept for the report and W&B, per generative task."""


def kept_margin(margin: float | None, budget: Budget) -> float:
    """The margin of the verdict, with its defaults resolved."""
    if margin is not None:
        return margin
    return budget.accuracy_drop if budget.accuracy_drop is not None else MARGIN
