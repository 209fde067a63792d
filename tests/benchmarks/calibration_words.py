"""Cells of the words of calibration: `worse`, `better` and the budget of `ece_rise`, whole and in waves.

Every rate is of seeded draws; its standard error stands with it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa

from eval_hooks.calibration.rise import ece_rise
from eval_hooks.estimate import Estimate
from eval_hooks.part import part_rise
from eval_hooks.table import column
from eval_hooks.waves import Drawn, Looks
from tests.benchmarks.cells import Cell, markdown
from tests.benchmarks.made_confidences import Law, calibrated, halves, over, pair, sharpened
from tests.eval_hooks import old_rules

SIZES = (100, 570, 3000)
SIZES_IN_WAVES = (570, 3000)
LIMIT = 0.03
"""Of the budget."""
PART = "5"
WRONG = 0.025
"""How often a word may be wrong to one side."""
DRAWS, OLD_DRAWS, DRAWS_IN_WAVES = 600, 200, 150
EXACT = 0.0005
"""A rise that is nearer to one in view is that one: the laws' own edges lie a little off the median."""

SHIFTED = Law(name="both calibrated, .76 and .91 sure", draw=calibrated(0.76, 0.91))
BACK = Law(name="both calibrated, .91 and .76 sure", draw=calibrated(0.91, 0.76))
SAME = Law(name="both calibrated, few flips", draw=calibrated(0.76))
UNCHANGED = (
    SAME,
    SHIFTED,
    Law(name="both calibrated, .76 and .91 sure, fresh luck", draw=calibrated(0.76, 0.91), fresh=True),
    BACK,
    Law(name="both .1 over, few flips", draw=over(0.10, 0.10)),
    Law(name="both .05 over, .76 and .88 sure", draw=over(0.05, 0.05, 0.76, 0.88), fresh=True),
    Law(name=".06 over, then .06 under", draw=over(0.06, -0.06, 0.70)),
    Law(name="below and above by .05, then .05 over", draw=halves((-0.05, 0.05), (0.05, 0.05))),
    Law(name=".05 over, then .10 over in the upper half", draw=halves((0.05, 0.05), (0.0, 0.10)), fresh=True),
)
AT_LIMIT = (
    Law(name="calibrated, then .03 over", draw=over(0.0, 0.03)),
    Law(name=".1 over, then .13", draw=over(0.10, 0.13)),
    Law(name=".05 over, then .08, .76 and .88 sure", draw=over(0.05, 0.08, 0.76, 0.88), fresh=True),
    Law(name=".03 over, then .12 over in the upper half", draw=halves((0.03, 0.03), (0.0, 0.12)), fresh=True),
    Law(name="calibrated, then .03 over, .91 and .76 sure", draw=over(0.0, 0.03, 0.91, 0.76), fresh=True),
)
RISEN = (
    Law(name="calibrated, then .05 over", draw=over(0.0, 0.05)),
    Law(name=".05 over, then .10", draw=over(0.05, 0.10)),
    Law(name="calibrated, then sharper", draw=sharpened(1.19)),
    Law(name="calibrated, then under and over by .05", draw=halves((0.0, 0.0), (-0.05, 0.05))),
)
HARDEST = (SAME, SHIFTED, UNCHANGED[-1])
"""Of the laws of no rise, those that are judged in waves too."""
HARDEST_AT_LIMIT = AT_LIMIT[1:4]


@dataclass(frozen=True, kw_only=True)
class Rates:
    """How often each word is said, and the budget crossed."""

    worse: float
    better: float
    crossed: float
    covered: float
    said: float
    """Draws in which there was a number."""
    draws: int

    def error(self, rate: float) -> float:
        """Its standard error, of a rate of at least one draw."""
        rate = min(max(rate, 1 / self.draws), 1 - 1 / self.draws)
        return float(np.sqrt(rate * (1 - rate) / self.draws))


def rates(ends: Sequence[tuple[float, float]], truth: float, draws: int) -> Rates:
    """From the intervals (low, high) of draws that gave a number."""
    low, high = np.array(ends).reshape(-1, 2).T
    return Rates(
        worse=float((low > 0).sum() / draws),
        better=float((high < 0).sum() / draws),
        crossed=float((low > LIMIT).sum() / draws),
        covered=float(((low <= truth + EXACT) & (high >= truth - EXACT)).sum() / max(1, len(low))),
        said=len(low) / draws,
        draws=draws,
    )


@lru_cache
def true_rise(law: Law) -> float:
    """As the law says."""
    return law.rise


@lru_cache
def judged(law: Law, n: int, draws: int = DRAWS) -> Rates:
    """By the rule that is in use, all items scored."""
    rng, ends = np.random.default_rng(n), []
    for _ in range(draws):
        found = ece_rise(*pair(law, n, rng))
        ends.append((found.low, found.high))
    return rates(ends, true_rise(law), draws)


@lru_cache
def judged_before(law: Law, n: int, draws: int = OLD_DRAWS) -> Rates:
    """By the bootstrap of plain ECE."""
    rng, ends = np.random.default_rng(n), []
    for _ in range(draws):
        found = old_rules.ece_rise(*(_sides(one) for one in pair(law, n, rng)))
        ends.append((found.low, found.high))
    return rates(ends, true_rise(law), draws)


def _sides(table: pa.Table) -> tuple[np.ndarray, np.ndarray]:
    return column(table, "conf"), column(table, "correct").astype(float)


@lru_cache
def in_waves(law: Law, n: int, long: bool = False, draws: int = DRAWS_IN_WAVES) -> tuple[Rates, Rates]:
    """Of evaluations that leave items unscored: the furthest ends over all looks; the rule of before at the last look.

    They end when a loss of 2 points is excluded or proven; `long` ones wait for a loss of just what is lost, so that
    most looks are taken.
    """
    rng = np.random.default_rng(n)
    ends, old = [], []
    for seed in range(draws):
        before, after = pair(law, n, rng)
        drawn = Drawn(before, Looks(allowed=true_loss(law) if long else 0.02, seed=seed))
        looks = list(_looks(drawn, after))
        if told := [(found.low, found.high) for _, found in looks if found.low is not None]:
            ends.append((max(low for low, _ in told), min(high for _, high in told)))
        if looks and not drawn.whole:
            was = old_rules.part_rise(looks[-1][0], drawn)
            old.append((was.low, was.high))
    return rates(ends, true_rise(law), draws), rates(old, true_rise(law), max(1, len(old)))


@lru_cache
def true_loss(law: Law) -> float:
    """Of accuracy."""
    (_, before), (_, after) = law.draw(np.random.default_rng(0), 300_000)
    return float((before - after).mean())


def _looks(drawn: Drawn, after: pa.Table) -> Iterator[tuple[pa.Table, Estimate]]:
    """The items scored and what is said of them, at each look that leaves some."""
    while (wave := drawn.next()) is not None:
        drawn.add(wave, after.take(wave))
        if not drawn.whole:
            table = after.take(drawn.items)
            yield table, part_rise(table, drawn)


def cells() -> Iterator[Cell]:
    """Whole tables, and in waves."""
    yield from whole_cells()
    yield from wave_cells()


def whole_cells(sizes: Sequence[int] = SIZES, draws: int = DRAWS) -> Iterator[Cell]:
    """Whole tables: words of no rise, a budget crossed by a rise of just its limit, and a rise that is seen."""
    for n in sizes:
        for law in UNCHANGED:
            case, found = f"{law.name}, n {n:,}", judged(law, n, draws)
            before = judged_before(law, n, min(draws, OLD_DRAWS)) if law in (SHIFTED, BACK) else None
            for word in ("worse", "better"):
                wrong = before and getattr(before, word)
                yield _cell(case, f"false `{word}`", found, getattr(found, word), old=wrong,
                            old_fails=(law, word) in ((SHIFTED, "better"), (BACK, "worse")))  # fmt: skip
        for law in AT_LIMIT:
            yield _cell(
                f"{law.name}, n {n:,}", f"budget of {LIMIT:g} crossed", (found := judged(law, n, draws)), found.crossed
            )
    if 3000 in sizes:
        for law in RISEN:
            found = judged(law, 3000, draws)
            yield _cell(f"{law.name}, n 3,000", "`worse`", found, found.worse, 0.80, side="at least")


def wave_cells(sizes: Sequence[int] = SIZES_IN_WAVES, draws: int = DRAWS_IN_WAVES) -> Iterator[Cell]:
    """The same at any look that leaves items unscored, in evaluations that take most looks; the rule of before at stops."""
    for n in sizes:
        for law in HARDEST:
            found, (_, before) = in_waves(law, n, True, draws)[0], in_waves(law, n, False, draws)
            for word in ("worse", "better"):
                yield _cell(f"{law.name}, n {n:,} in waves", f"false `{word}`", found, getattr(found, word),
                            old=getattr(before, word), old_fails=(law, word) == (SHIFTED, "worse"))  # fmt: skip
        for law in HARDEST_AT_LIMIT:
            found = in_waves(law, n, True, draws)[0]
            yield _cell(f"{law.name}, n {n:,} in waves", f"budget of {LIMIT:g} crossed", found, found.crossed)


def _cell(case: str, what: str, found: Rates, rate: float, bound: float = WRONG, **how: Any) -> Cell:
    return Cell(part=PART, case=case, what=what, rate=rate, bound=bound, error=found.error(rate), **how)


SHOWN = {("worse", "better"): "`worse` / `better`", ("crossed",): f"budget of {LIMIT:g} crossed", ("worse",): "`worse`"}


def summary() -> str:
    """Words by law: whole tables of each size, then in waves, as a Markdown table."""
    rows = []
    for law in (*UNCHANGED, *AT_LIMIT, *RISEN):
        waves = (
            [in_waves(law, n, True)[0] for n in SIZES_IN_WAVES] if law in (*HARDEST, *HARDEST_AT_LIMIT, *RISEN) else []
        )
        found = [*(judged(law, n) for n in SIZES), *waves]
        shown = ("worse", "better") if law in UNCHANGED else ("crossed",) if law in AT_LIMIT else ("worse",)
        told = [" / ".join(f"{100 * getattr(one, word):.1f}" for word in shown) for one in found]
        rows.append((law.name, f"{abs(round(true_rise(law), 3)):g}", SHOWN[shown], *told, *[""] * (5 - len(told))))
    sizes = [*(f"n {n:,}" for n in SIZES), *(f"n {n:,} in waves" for n in SIZES_IN_WAVES)]
    return markdown(("before, then after", "rise", "%", *sizes), rows)
