"""The contract of a method: a frozen dataclass of hyperparameters and a few plain functions, gathered in one value.

Its moments, and no other way in:

    prepare -> [batch -> step -> backward -> edit_grads -> optimizer -> after_update]*

A method that TRL already has is a row that only names TRL's argument (`trl`), and TRL's trainer where it is another
one; then `step` is None. Trainers, launcher and evaluators know no method by name: they call what is here.
"""

from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from data_mix.render import ANSWERS
from data_mix.spans import Part

if TYPE_CHECKING:
    from torch import Tensor

    from trainers.reference import Reference

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
    reference: "Reference | None" = None
    """The model that the stage started from, where the method asks for it."""
    totals: Mapping[str, "Tensor"] = field(default_factory=dict)
    """What sums are divided by, counted over all micro-batches and ranks of the optimizer step: `tokens` (sft, cpt:
    weighted), `rows` (dpo), `rows`, `forget`, `retain` (unlearn: rows, and tokens of each side)."""
    state: MutableMapping[str, "Tensor"] = field(default_factory=dict)
    """What the method keeps from step to step (dual variables, averages); checkpoints save it, a resumed run has it."""


@dataclass(frozen=True, kw_only=True)
class LossOutput:
    """What a step gives back."""

    loss: "Tensor"
    """Scalar: this micro-batch's mean, or its sum divided by `Context.totals`."""
    metrics: Mapping[str, "Tensor"] = field(default_factory=dict)
    """Scalars to log, averaged over micro-batches and ranks."""


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

    stage: str
    config: type[Config]
    """Frozen, keyword-only dataclass; its defaults are the paper's setting."""
    batch: type[Batch] | None = None
    """What `step` takes; None where TRL computes the loss."""
    about: str = ""
    """One line for `temper list methods`."""
    source: Source = field(default_factory=Source)
    trl: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of TRL's config class that make TRL's own trainer compute this loss."""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of the config class where the recipe leaves them open."""
    trainer: Callable[[], Any] | None = None
    """Imports and returns the trainer, where the row needs another one than its stage's."""
    arguments: Callable[[], type] | None = None
    """Imports and returns that trainer's config class."""
    step: Callable[[Context, Batch, Config], LossOutput] | None = None
    prepare: Callable[[Context, Config], None] | None = None
    """Once, before the first step (and after a resumed run has its state)."""
    edit_grads: Callable[[Context, Gradients, Config], None] | None = None
    """Between backward and optimizer, once an optimizer step; before gradients are clipped."""
    after_update: Callable[[Context, Config], None] | None = None
    """After each optimizer step."""
    weigh: Callable[[Batch, Config], "Tensor"] | None = None
    """Weight of each token (B, T), whose sum the loss is a mean over; default: 1 where labelled."""
    reference: Callable[[Config], str] | None = None
    """config -> `model` (its forward passes), `logps` (its token log-probabilities suffice) or `none`."""
    sides: Callable[[Config], tuple[str, ...]] | None = None
    """config -> sides of the data that must be there, as forget and retain."""
    trains: tuple[Part, ...] = ANSWERS
    """Which parts of a conversation are labelled."""
    needs_parts: bool = False
    """The batch gets `parts` (B, T): what each token belongs to."""


@dataclass(frozen=True, kw_only=True)
class NoOptions:
    """A method without hyperparameters of its own."""
