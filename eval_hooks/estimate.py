"""A number that says how sure it is."""

from dataclasses import asdict, dataclass, replace
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A value with its 95 % interval; `value` is None, with a `reason`, where it cannot be had."""

    value: float | None
    low: float | None = None
    high: float | None = None
    n: int = 0
    method: str = ""
    """How the interval was made: wilson, bootstrap, exact, ..."""
    reason: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """The form that summary.json holds."""
        return asdict(self)


def missing(reason: str, n: int = 0) -> Estimate:
    """An estimate that cannot be had, and why."""
    return Estimate(value=None, n=n, reason=reason)


def within(estimate: Estimate, least: float, most: float) -> Estimate:
    """The estimate with what cannot be cut off: a share below 0, an error below none."""
    ends = (estimate.value, estimate.low, estimate.high)
    value, low, high = (None if end is None else min(most, max(least, end)) for end in ends)
    return replace(estimate, value=value, low=low, high=high)
