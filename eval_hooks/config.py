"""The `eval:` section of a recipe, typed; also what CheckpointEval takes from a script."""

from dataclasses import dataclass, field
from typing import Any, Literal

from eval_hooks.errors import EvalError
from eval_hooks.names import RULE, as_name, is_name

Variant = Literal["hendrycks", "lm_eval", "olmes_mcf", "olmes_cf"]
Role = Literal["target", "retain"]
SHOTS = 5
MARGIN = 0.02
"""Loss that counts as none where nothing else is said."""
Over = Literal["items", "subjects"]
LOSSES, FITTED = "val.", ".validation"
"""How the tables of validation sets begin, and how the items that fit a task's temperature end in its name."""


TASK_RULE = f"{RULE}; {LOSSES}NAME is a validation set's"


def is_task_name(name: object) -> bool:
    """Whether a task may be called so."""
    return is_name(name) and not str(name).casefold().startswith(LOSSES)


@dataclass(frozen=True, kw_only=True)
class TaskSpec:
    """One entry of `eval.target` or `eval.retain`."""

    task: str
    """A row of `eval_hooks.catalog.TASKS`; `lm_eval:NAME` is a task of lm-evaluation-harness."""
    name: str = ""
    """How tables, keys and pictures call it (default: the task's name; of `lm_eval:NAME` it is NAME,
    with `-` for what a name may not have)."""
    variant: Variant = "lm_eval"
    """Prompt and scoring of a multiple-choice task."""
    shots: int | None = None
    """Solved examples before each question: the subject's first dev rows (default 5), or as an lm-eval task draws them
    (default: its own number)."""
    split: str = "test"
    """Which rows are scored."""
    temperature_split: str | None = None
    """Split whose items fit a temperature (`validation`, say, at most `limit` of them); null: none is fitted."""
    path: str | None = None
    """Folder or file with the items; without it the hub copy or the embedded bank."""
    gold_base: Literal[0, 1] | None = None
    """Number of the first option where answers are numbers; default 0, and a file without a 0 is refused, as are a
    plugin's task and a YAML file of yours for lm-eval, where 0 says that they count so."""
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
    batch_tokens: int | None = None
    """Tokens of one forward pass while scoring texts (default: what suits the machine, 512 on a CPU); memory, not
    results, depends on it."""
    goal: Literal["up", "down"] = "up"
    """What success is: an answer that is learned, or (unlearning) one that is forgotten."""
    include_path: str | None = None
    """Folder with your own YAML tasks for lm-eval."""
    metric: str | None = None
    """Metric of an lm-eval task that decides whether an item is right, as `acc_norm` or `exact_match,flexible-extract`
    (default: the first it lists of acc, acc_norm, exact_match, under its first filter)."""
    rows: Any = None
    """For a task whose items are rows of a data source: which source, with its keys; read by the caller."""

    def __post_init__(self) -> None:
        """Refuse a name that could not be a file's, or that leads out of the folder it is written in."""
        if not is_task_name(self.name.removesuffix(FITTED) if self.name else self.called):
            raise EvalError(f"task name {self.name or self.called!r}: {TASK_RULE}; write a name of its own")

    @property
    def called(self) -> str:
        """Its name, with the default resolved."""
        own = self.task.rpartition(":")[2]
        return self.name or (as_name(own, "task") if self.named else own)

    @property
    def named(self) -> bool:
        """Whether it is one of many tasks of its row, as `lm_eval:NAME`."""
        return ":" in self.task

    @property
    def n_shots(self) -> int:
        """Solved examples of a task of ours, with the default resolved."""
        return SHOTS if self.shots is None else self.shots


Action = Literal["report", "stop", "roll_back", "replay", "kl", "lr"]


@dataclass(frozen=True, kw_only=True)
class Replay:
    """What is mixed in from then on."""

    source: Any
    """An entry of data.train, read by the caller."""
    share: float = 0.25
    """Of the rows (or tokens, as data.weight_by says)."""


@dataclass(frozen=True, kw_only=True)
class Kl:
    """A pull towards the start model from then on: KL(start || model) on the rows trained on, added to the loss."""

    weight: float = 0.1


@dataclass(frozen=True, kw_only=True)
class Lr:
    """A lower learning rate from then on."""

    factor: float = 0.5


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What may be lost before something happens: only a loss that the interval proves counts."""

    accuracy_drop: float | None = None
    """Of a task to retain, against step 0; a share: 0.02 is two points."""
    ece_rise: float | None = None
    """Of a task to retain, against step 0: the rise of ECE in two bins, whose interval holds what it says."""
    target_floor: float | None = None
    """Accuracy under which no target may lie after step 0."""
    confidence: float = 0.95
    """Of all words of the run together: 0.95 lets one run in twenty say or do something wrong, however many evaluations
    and tasks it has. What is not allowed is spent over them (`final_share`)."""
    final_share: float = 0.8
    """Part of it that the last evaluation may spend; those before it share the rest."""
    patience: int = 1
    """Evaluations in a row at which a limit has to be crossed."""
    action: Action = "report"
    """report; stop (exit code 3); roll_back to the last checkpoint that kept the budget, then go on at a lower learning
    rate; mix in replay; add kl to the start model; lower lr."""
    replay: Replay | None = None
    kl: Kl = field(default_factory=Kl)
    lr: Lr = field(default_factory=Lr)
    most: int = 3
    """Times that roll_back or lr is taken; then roll_back stops the run, and lr only reports."""


@dataclass(frozen=True, kw_only=True)
class Keep:
    """The `eval.keep` section."""

    by: str
    """A key of metrics.jsonl that an evaluation logs, as eval/sql/accuracy."""
    subject_to: str | None = None
    """What must hold of a checkpoint, as "eval/pocket/retention/delta_low >= -0.02"."""
    greater_is_better: bool | None = None
    """Default: by the key (`results.metrics`), turned by the goal of its task."""


@dataclass(frozen=True, kw_only=True)
class EvalConfig:
    """The whole `eval:` section."""

    every: int | float | Literal["epoch"] | None = None
    """Steps (whole number), fraction of the run (0 to 1) or `epoch`; None: only at step 0 and at the end."""
    target: tuple[TaskSpec, ...] = ()
    """What the run is for."""
    retain: tuple[TaskSpec, ...] = ()
    """What must not be lost; paired with step 0."""
    live: bool = True
    """Whether the training process measures; if not, it keeps every checkpoint and leaves all to `temper watch`."""
    margin: float | None = None
    """What may be lost and still be called kept; default budget.accuracy_drop, else 0.02."""
    over: Over = "items"
    """What a verdict is to hold for. items: other items like these, of the same subjects. subjects: new subjects, of
    which these are a sample; the interval is never narrower, and a task to retain needs five subjects or more."""
    budget: Budget = field(default_factory=Budget)
    order: Literal["full", "waves"] = "full"
    """full: all items at every evaluation. waves: between step 0 and the end, the items to retain whose margin at step
    0 was small come first, in waves, until a loss of more than the budget's accuracy_drop (or the margin) is excluded
    or proven."""
    cost_limit: float | None = None
    """Share of the planned training seconds that the evaluations between step 0 and the end may take; needs
    order: waves, which then end when it is used up."""
    keep: Keep | None = None
    """Which checkpoint is the best: `best` in the run folder points to it; a pipeline's next run starts there."""
    certify: bool = False
    """At the end, prove that the final checkpoint and the kept one are what was measured: 100 items again from the
    files, merged, and with 8- and 4-bit weights; written as certificate.json beside the weights."""
    on_error: Literal["report", "stop"] = "report"
    samples: int = 8
    """Generations kept for the report and W&B, per generative task."""


def kept_margin(margin: float | None, budget: Budget) -> float:
    """The margin of the verdict, with its defaults resolved."""
    if margin is not None:
        return margin
    return budget.accuracy_drop if budget.accuracy_drop is not None else MARGIN
