"""Cells of copies: intervals of items of which a third are copies of others, and all of an item's copies flip together.

Rates are of seeded draws.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from eval_hooks.copies import worth
from eval_hooks.intervals import bootstrap_mean, wilson
from eval_hooks.retention.flips import mcnemar
from eval_hooks.retention.interval import change_interval
from tests.benchmarks.cells import Cell, markdown, percent
from tests.benchmarks.made_tables import Law, copied_counts, flipping

PART = "6"
DRAWS = 20_000
COVERED, WRONG = 0.945, 0.027
N, SHARE = 570, 1 / 3
COPIES = (2, 5)
LAWS = tuple(
    flipping(N, flips, change) for flips in (0.01, 0.05, 0.20) for change in (0.0, -0.01) if flips > 0.01 or not change
)
RIGHT = (0.3, 0.6)
"""Accuracies."""
RESAMPLED = 600
"""Tables whose items are resampled: 1,000 resamples of each."""


@dataclass(frozen=True, kw_only=True)
class Rates:
    """How an interval fares: of the paired change, of an accuracy."""

    covered: float
    dropped: float
    width: float


@lru_cache
def judged(law: Law, copies: int, draws: int = DRAWS) -> tuple[Rates, Rates]:
    """(every copy an item, copies counted once) of the paired change."""
    lost, gained, down, up, sizes = copied_counts(law, copies, SHARE, draws, np.random.default_rng(0))
    share = worth(N, np.repeat(np.arange(len(sizes)), sizes)) / N
    before = change_interval(lost, gained, N)
    now = change_interval(lost * share, gained * share, N * share, 0.95, mcnemar(down, up))
    return _rates(law, *before), _rates(law, *now)


def _rates(law: Law, low: np.ndarray, high: np.ndarray) -> Rates:
    inside = (low <= law.change + 1e-12) & (high >= law.change - 1e-12)
    return Rates(covered=float(inside.mean()), dropped=float((high < 0).mean()), width=float((high - low).mean()))


@lru_cache
def accuracy(right: float, copies: int, draws: int = DRAWS) -> tuple[float, float]:
    """How often Wilson's interval covers an accuracy: (every copy an item, copies counted once)."""
    found, _, _, _, sizes = copied_counts(
        Law(n=N, lost=right, gained=0.0), copies, SHARE, draws, np.random.default_rng(0)
    )
    of, hits = worth(N, np.repeat(np.arange(len(sizes)), sizes)), []
    for n in (float(N), of):
        ends = {count: wilson(count * n / N, n) for count in np.unique(found)}
        hits.append(float(np.mean([ends[count][0] <= right <= ends[count][1] for count in found])))
    return hits[0], hits[1]


@lru_cache
def resampled(copies: int, tables: int = RESAMPLED) -> tuple[float, float]:
    """The same of the mean of a score that is no count, by the bootstrap: (items, whole clusters)."""
    rng, hits = np.random.default_rng(1), np.zeros(2)
    sizes = copied_counts(flipping(N, 0.0, 0.0), copies, SHARE, 1, rng)[-1]
    of = np.repeat(np.arange(len(sizes)), sizes)
    for _ in range(tables):
        scores = rng.uniform(size=len(sizes))[of]
        for rule, clusters in enumerate((None, of)):
            found = bootstrap_mean(scores, resamples=1000, clusters=clusters)
            assert found.low is not None and found.high is not None
            hits[rule] += found.low <= 0.5 <= found.high
    return float(hits[0] / tables), float(hits[1] / tables)


def cells(draws: int = DRAWS, tables: int = RESAMPLED, copies: Sequence[int] = COPIES) -> Iterator[Cell]:
    """Coverage of the change, of the accuracy, of a bootstrapped mean; false `dropped`. Each copy an item must fail."""
    error = float(np.sqrt(COVERED * (1 - COVERED) / draws))
    for times in copies:
        case = f"{N} items, a third copies, {times} of each"
        for law in LAWS:
            at = f"{case}, {100 * (law.lost + law.gained):g} % flip, {100 * law.change:g} points"
            old, new = judged(law, times, draws)
            fails = law.lost + law.gained >= 0.05
            yield Cell(part=PART, case=at, what="covered", rate=new.covered, bound=COVERED, side="at least", error=error,
                       old=old.covered, old_fails=fails)  # fmt: skip
            if law.change == 0:
                yield Cell(part=PART, case=at, what="false `dropped`", rate=new.dropped, bound=WRONG, old=old.dropped,
                           error=float(np.sqrt(WRONG * (1 - WRONG) / draws)), old_fails=fails)  # fmt: skip
        for right in RIGHT:
            before, now = accuracy(right, times, draws)
            yield Cell(part=PART, case=f"{case}, {100 * right:g} % right", what="accuracy covered", rate=now,
                       bound=COVERED, side="at least", error=error, old=before, old_fails=True)  # fmt: skip
        before, now = resampled(times, tables)
        yield Cell(part=PART, case=case, what="mean score covered", rate=now, bound=COVERED, side="at least",
                   error=float(np.sqrt(0.05 * 0.95 / tables)), old=before, old_fails=times == 5)  # fmt: skip


def summary(draws: int = DRAWS, copies: Sequence[int] = COPIES) -> str:
    """Coverage, false `dropped` and width by copies and share of flips, as a Markdown table: each an item -> once."""
    rows = []
    for times in copies:
        for law in LAWS:
            old, new = judged(law, times, draws)
            rows.append(
                (
                    f"{times} of each", f"{100 * (law.lost + law.gained):g}", f"{abs(100 * law.change):g}",
                    f"{percent(old.covered)} → {percent(new.covered)}",
                    f"{percent(old.dropped)} → {percent(new.dropped)}" if law.change == 0 else "",
                    f"{100 * old.width:.2f} → {100 * new.width:.2f}",
                )
            )  # fmt: skip
    return markdown(("copies", "flip, %", "points lost", "covered", "false `dropped`", "width, points"), rows)
