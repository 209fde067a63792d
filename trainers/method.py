"""The contract of a method: a frozen dataclass of hyperparameters and a few plain functions, gathered in one value.

Its moments, and no other way in:

    prepare -> [batch -> step -> backward -> edit_grads -> optimizer -> after_update]*

A method that TRL already has is a row that only names TRL's argument (`trl`), and TRL's trainer where it is another
one; then `step` is None. Trainers, launcher and evaluators know no method by name: they call what is here.
"""

from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import InitVar, dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from data_mix.forms import Form
from data_mix.render import ANSWERS
from data_mix.spans import Part

if TYPE_CHECKING:
    from torch import Tensor

    from trainers.models.companions import Start

Batch = TypeVar("Batch")
Config = TypeVar("Config")


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where a method was published."""

    arxiv: str | None = None
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Context:
    """What a moment may use besides its batch."""

    model: Any
    """The model as the trainer wraps it; call it, do not unwrap it."""
    models: Mapping[str, Any] = field(default_factory=dict)
    """The companions that the method names (`Method.models`): `with ctx.models["start"] as start:` calls one."""
    totals: Mapping[str, "Tensor"] = field(default_factory=dict)
    """What sums are divided by, counted over all micro-batches and ranks of the optimizer step: `rows` and `tokens`
    (sft, cpt: texts, labelled or weighed tokens; dpo: pairs, tokens of both answers), `rows`, `forget`, `retain`
    (unlearn: rows to forget, tokens of each side). Empty outside a training step."""
    state: MutableMapping[str, "Tensor"] = field(default_factory=dict)
    """What the method keeps from step to step (dual variables, averages); checkpoints save it, a resumed run has it."""


@dataclass(frozen=True, kw_only=True)
class LossOutput:
    """What a step gives back."""

    loss: "Tensor"
    """Scalar: a sum divided by `Context.totals`, where the step reads them; else this micro-batch's mean."""
    metrics: Mapping[str, "Tensor"] = field(default_factory=dict)
    """Scalars to log, averaged over micro-batches and ranks."""
    terms: Mapping[str, "Tensor"] = field(default_factory=dict)
    """Terms of the loss to log, each made up as the loss is: summed over the step where the loss is, else averaged."""


@dataclass(frozen=True, kw_only=True)
class Collation:
    """What a method's own `collate` may use besides its rows."""

    pad_id: int
    """The token that rows are padded with; masks come from lengths, since it may be an answer's last token too."""
    seed: int
    """Of the run."""
    epoch: int
    """From 0; the same in a run that was resumed."""
    max_length: int | None
    """`train.max_length`, in tokens."""


class Gradients(Protocol):
    """The gradients of a whole optimizer step by parameter name, in fp32 and full size whoever holds them."""

    def names(self) -> list[str]:
        """Trained parameters, in the model's order; the same on every rank."""

    def get(self, name: str) -> "Tensor":
        """One gradient; on all ranks together, since its pieces may lie on several."""

    def put(self, name: str, value: "Tensor") -> None:
        """Set one gradient, before it is clipped."""


@dataclass(frozen=True, kw_only=True)
class Method(Generic[Batch, Config]):
    """A row of the table of methods."""

    stages: tuple[str, ...] = ()
    """The stages that can run it."""
    stage: InitVar[str | None] = None
    """A single one, as `stages=(stage,)`."""
    config: type[Config]
    """Frozen, keyword-only dataclass; its defaults are the paper's setting, or that of the benchmark it names."""
    batch: type[Batch] | None = None
    """What `step` takes; None where TRL computes the loss."""
    about: str = ""
    """One line for `temper list methods`."""
    source: Source = field(default_factory=Source)
    trl: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of TRL's config class that make TRL's own trainer compute this loss."""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of the config class where the recipe leaves them open: what the paper says of the loss."""
    trainer: Callable[[], Any] | None = None
    """Imports and returns the trainer, where the row needs another one than its stage's."""
    arguments: Callable[[], type] | None = None
    """Imports and returns that trainer's config class."""
    step: Callable[[Context, Batch, Config], LossOutput] | None = None
    columns: tuple[str, ...] = ()
    """Columns of a row that the step reads besides its stage's, numbers or lists of numbers: `batch.extra[name]`."""
    form: Form | None = None
    """Which rows it trains on and what they become, where those are not its stage's."""
    collate: Callable[[Sequence[Mapping[str, Any]], Collation], Batch] | None = None
    """Rows -> the batch, where the stage's own collator will not do: a map or a dataclass of tensors."""
    models: Callable[[Config], Mapping[str, "Start"]] | None = None
    """config -> the models it needs beside the one that is trained; the reference is `{"start": Start()}`."""
    prepare: Callable[[Context, Config], None] | None = None
    """Once, before the first step (and after a resumed run has its state)."""
    edit_grads: Callable[[Context, Gradients, Config], None] | None = None
    """Between backward and optimizer, once an optimizer step; before gradients are clipped."""
    after_update: Callable[[Context, Mapping[str, float], Config], None] | None = None
    """After each optimizer step, with its `loss` and what it logs, over all micro-batches and ranks."""
    weigh: Callable[[Batch, Config], "Tensor"] | None = None
    """Weight of each token (B, T), whose sum the loss is a mean over; default: 1 where labelled."""
    sides: Callable[[Config], tuple[str, ...]] | None = None
    """config -> sides of the data that must be there, as forget and retain."""
    trains: tuple[Part, ...] = ANSWERS
    """Which parts of a conversation are labelled."""
    needs_parts: bool = False
    """The batch gets `parts` (B, T): what each token belongs to."""

    def __post_init__(self, stage: str | None) -> None:
        """Take a single stage for a tuple of one."""
        if stage is not None:
            object.__setattr__(self, "stages", (stage, *self.stages))


@dataclass(frozen=True, kw_only=True)
class NoOptions:
    """A method without hyperparameters of its own."""
