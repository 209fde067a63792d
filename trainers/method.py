"""The contract of a method: a frozen dataclass of hyperparameters and a few plain functions, gathered in one value.

A method that TRL already has is a row that only names TRL's argument (`trl`); then the trainer's own loss is used and
`step` is None. Trainers know no method by name: they call what is here.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from data_mix.render import ANSWERS
from data_mix.spans import Part

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where a method was published."""

    arxiv: str | None = None
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Context:
    """What a step may use besides its batch."""

    model: Any
    """The model as the trainer wraps it; call it, do not unwrap it."""
    tokens: "Tensor | float | None"
    """What the loss is divided by: (weighted) tokens of the whole optimizer step, over all micro-batches and ranks."""


@dataclass(frozen=True, kw_only=True)
class LossOutput:
    """What a step gives back."""

    loss: "Tensor"
    """Scalar, this micro-batch's share: a sum divided by `Context.tokens`."""
    metrics: Mapping[str, "Tensor"] = field(default_factory=dict)
    """Scalars to log, averaged over micro-batches and ranks."""


Batch = Mapping[str, Any]
Step = Callable[[Context, Batch, Any], LossOutput]


@dataclass(frozen=True, kw_only=True)
class Method:
    """A row of the table of methods."""

    stage: str
    config: type
    """Frozen, keyword-only dataclass; its defaults are the paper's setting."""
    about: str
    """One line for `temper list methods`."""
    source: Source = field(default_factory=Source)
    trl: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of TRL's config class that make TRL's own trainer compute this loss."""
    step: Step | None = None
    """(context, batch, config) -> loss; None where `trl` says it all."""
    weigh: Callable[[Batch, Any], "Tensor"] | None = None
    """(batch, config) -> weight of each token (B, T), whose sum the loss is a mean over; default: 1 where labelled."""
    trains: tuple[Part, ...] = ANSWERS
    """Which parts of a conversation are labelled."""
    needs_parts: bool = False
    """The batch gets `parts` (B, T): what each token belongs to."""


@dataclass(frozen=True, kw_only=True)
class NoOptions:
    """A method without hyperparameters of its own."""
