"""What a verifier says."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from eval_hooks.bounded import CPU_S

Row = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """A reward with its reason."""

    reward: float
    """Between 0 and 1; composition weighs it."""
    ok: bool
    """Whether the answer counts as right, for accuracies."""
    reason: str = ""
    """Why, in a few words, right or not."""


Verify = Callable[[Row, str], Verdict]
"""(row, completion) -> verdict. The row has at least `answer`, the gold answer as text, or a list of them (`golds`)."""


@dataclass(frozen=True, kw_only=True)
class Verifier:
    """A row of the table of verifiers."""

    verify: Verify
    """Called in a worker process (`trainers.rlvr.apart`), which finds it by the table that it stands in."""
    about: str
    check: Callable[[Row], object] | None = None
    """Raises ValueError for a row that no answer can be judged by; asked of every row before training."""
    warm_up: Callable[[], object] | None = None
    """What the worker does before the first answer's time begins: imports, caches."""
    timeout_s: float = CPU_S
    """Seconds of CPU for one answer; by the clock it may take twelve times that."""
    home: str = ""
    """The plugin's file; "": the package's own table."""


def right(reason: str = "as the gold answer") -> Verdict:
    """Full reward."""
    return Verdict(reward=1.0, ok=True, reason=reason)


def wrong(reason: str) -> Verdict:
    """No reward."""
    return Verdict(reward=0.0, ok=False, reason=reason)


def golds(row: Row) -> list[str]:
    """The gold answers, any of which is right: `answer`, a text or a list of texts.

    Raises ValueError where there is none, or one of them says nothing.
    """
    given = row["answer"]
    found = [str(one) for one in given] if isinstance(given, list | tuple) else [str(given)]
    if not found or not all(one.strip() for one in found):
        raise ValueError(f"the gold answer {given!r:.60} says nothing")
    return found
