"""What a preference method's step takes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from trainers.logprobs import Tokens

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class PairBatch:
    """Pairs of answers: the first half of the rows are the chosen ones, the second half the rejected, in order."""

    tokens: Tokens  # (2B, T)
    extra: Mapping[str, "Tensor"] = field(default_factory=dict)
    """The method's own columns, one value or list a pair: (B,) or (B, n)."""
