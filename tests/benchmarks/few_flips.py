"""Cells of one look: the interval of counts and its words, where few items flip or all go one way.

Rates are sums over every pair of counts that a law gives, so they have no noise.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from eval_hooks.retention.interval import change_interval
from eval_hooks.retention.power import items_needed
from tests.benchmarks.cells import Cell, markdown, percent
from tests.benchmarks.made_tables import Counts, Law, all_counts, flipping
from tests.eval_hooks import old_rules

SIZES = (100, 570, 3000, 14_042)
FLIPS = (0.01, 0.05, 0.20)
MARGINS = (0.005, 0.01, 0.02)
LEVELS = (0.95, 0.99, 0.999)
SLACK_COVERED, SLACK_WRONG = 1.1, 1.08
"""At 95 %: covered in at least 94.5 %, wrong to one side in at most 2.7 %; at other levels in proportion."""
PART = "1"
NAMED = (flipping(570, 0.01, -0.01), flipping(200, 0.02, -0.02), flipping(100, 0.01, -0.005))
"""At a loss of exactly the margin, where the bootstrap said `kept` in 7.7, 8.9 and 10.5 %."""

Bounds = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True, kw_only=True)
class Rates:
    """How an interval and its words fare under one law."""

    covered: float
    understated: float
    """The whole interval lies above the true change."""
    overstated: float
    """The whole interval lies below it."""
    dropped: float
    gained: float
    kept: dict[float, float]
    """`kept` or `gained`, by margin."""
    width: float


def rates(law: Law, counts: Counts, bounds: Bounds) -> Rates:
    """From the bounds of every pair of counts; rounding counts as inside."""
    low, high = bounds
    above, below = low > law.change + 1e-12, high < law.change - 1e-12
    return Rates(
        covered=float(1 - counts.p[above | below].sum()),
        understated=float(counts.p[above].sum()),
        overstated=float(counts.p[below].sum()),
        dropped=float(counts.p[high < 0].sum()),
        gained=float(counts.p[low > 0].sum()),
        kept={m: float(counts.p[(high >= 0) & (low > -m + 1e-12)].sum()) for m in MARGINS},
        width=float(counts.p @ (high - low)),
    )


@lru_cache
def judged(law: Law, level: float = 0.95) -> Rates:
    """By the rule that is in use."""
    counts = all_counts(law)
    return rates(law, counts, change_interval(counts.lost, counts.gained, law.n, level))


@lru_cache
def judged_before(law: Law) -> Rates:
    """By the bootstrap."""
    counts = all_counts(law)
    return rates(law, counts, old_rules.change_interval(counts.lost, counts.gained, law.n))


def laws(n: int) -> Iterator[tuple[str, Law]]:
    """Every flip a loss; as many lost as gained; a loss of exactly a margin among flips both ways."""
    for flips in sorted({*FLIPS, *MARGINS}):
        yield f"n {n:,}, {100 * flips:g} % flip, all lost", flipping(n, flips, -flips)
    for flips in FLIPS:
        yield f"n {n:,}, {100 * flips:g} % flip, balanced", flipping(n, flips, 0.0)
        for margin in MARGINS:
            if margin < flips:
                case = f"n {n:,}, {100 * flips:g} % flip, {100 * margin:g} points lost"
                yield case, flipping(n, flips, -margin)


def cells(sizes: Sequence[int] = SIZES, levels: Sequence[float] = LEVELS) -> Iterator[Cell]:
    """Coverage of every law, and to which side it fails; false `kept` at margins lost, false `dropped` of no loss.

    A change overstated where a budget's limit is lost is what the budget acts on wrongly.
    """
    for n in sizes:
        for case, law in laws(n):
            for level in levels:
                yield from _of_law(case, law, level)
    if 200 not in sizes:
        yield from _of_law("n 200, 2 % flip, all lost", NAMED[1], 0.95)


def _of_law(case: str, law: Law, level: float) -> Iterator[Cell]:
    now, before = judged(law, level), judged_before(law) if level == 0.95 else None
    at = case if level == 0.95 else f"{case}, level {100 * level:g} %"
    covered, wrong = 1 - SLACK_COVERED * (1 - level), SLACK_WRONG * (1 - level) / 2

    def cell(what: str, of: Callable[[Rates], float], bound: float, fails: bool = False, **how: Any) -> Cell:
        return Cell(
            part=PART, case=at, what=what, rate=of(now), bound=bound, old=of(before) if before else None,
            old_fails=fails and level == 0.95, **how,
        )  # fmt: skip

    yield cell("covered", lambda r: r.covered, covered, law in NAMED, side="at least")
    yield cell("change understated", lambda r: r.understated, wrong, law in NAMED)
    yield cell("change overstated", lambda r: r.overstated, wrong)
    for margin in MARGINS:
        if law.change <= -margin + 1e-12:
            fails = law in NAMED and abs(law.change + margin) < 1e-12
            yield cell(f"false `kept`, margin {margin:g}", lambda r, m=margin: r.kept[m], wrong, fails)
    if law.change == 0:
        yield cell("false `dropped`", lambda r: r.dropped, wrong)


def power_cells() -> Iterator[Cell]:
    """Items that a difference of the margin needs, and how often they do show it: `dropped` is said in 75 % or more.

    The formula has 80 % in view for the normal test; the exact one is a little more careful where few items flip.
    """
    for margin in MARGINS:
        for flips in FLIPS:
            if margin <= flips:
                n = items_needed(margin, flips)
                law = flipping(n, flips, -margin)
                yield Cell(
                    part="8", case=f"{100 * flips:g} % flip, {100 * margin:g} points lost, n {n:,} as advised",
                    what="`dropped`", rate=judged(law).dropped, bound=0.75, side="at least",
                )  # fmt: skip


def summary(sizes: Sequence[int] = SIZES) -> str:
    """Worst of the cells by n and share of flips, and what the coverage costs, as a Markdown table: old -> new."""
    rows = []
    for n in sizes:
        for flips in FLIPS:
            here = [law for _, law in laws(n) if abs(law.lost + law.gained - flips) < 1e-12]
            even = flipping(n, flips, 0.0)
            rows.append(
                (
                    f"{n:,}",
                    f"{100 * flips:g}",
                    *(_worst(here, *how) for how in WORST),
                    _both(even, lambda r: percent(r.dropped)),
                    _both(even, lambda r: f"{100 * r.width:.2f}"),
                    *(_both(even, lambda r, m=m: f"{100 * (r.kept[m] - r.gained):.0f}") for m in (0.01, 0.02)),
                )
            )
    return markdown(
        ("items", "flip, %", "covered, least", "wrong to one side, most", "false `kept`, most", "false `dropped`",
         "width, points", "`kept` of 1 point", "`kept` of 2 points"),
        rows,
    )  # fmt: skip


def _both(law: Law, of: Callable[[Rates], str]) -> str:
    return f"{of(judged_before(law))} → {of(judged(law))}"


def _worst(here: Sequence[Law], of: Callable[[Law, Rates], float], worst: Callable[..., float]) -> str:
    old, new = (worst(of(law, rule(law)) for law in here) for rule in (judged_before, judged))
    return f"{percent(old)} → {percent(new)}"


def _false_kept(law: Law, found: Rates) -> float:
    return max((rate for margin, rate in found.kept.items() if law.change <= -margin + 1e-12), default=0.0)


WORST: tuple[tuple[Callable[[Law, Rates], float], Callable[..., float]], ...] = (
    (lambda law, found: found.covered, min),
    (lambda law, found: max(found.understated, found.overstated), max),
    (_false_kept, max),
)
