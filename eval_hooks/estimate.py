"""A number that says how sure it is."""

from dataclasses import asdict, dataclass
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
