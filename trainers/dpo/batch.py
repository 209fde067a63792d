"""What a preference method's step takes."""

from dataclasses import dataclass

from trainers.logprobs import Tokens


@dataclass(frozen=True, kw_only=True)
class PairBatch:
    """Pairs of answers: the first half of the rows are the chosen ones, the second half the rejected, in order."""

    tokens: Tokens  # (2B, T)
