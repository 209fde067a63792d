"""Cells of the words the field uses: forgetting beyond guessing, words beyond the arithmetic, words over a comparison."""

from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np
from scipy.stats import binom

from eval_hooks.retention.interval import change_interval
from eval_hooks.retention.noise import Noise
from eval_hooks.retention.transitions import adjusted_share
from tests.benchmarks.cells import Cell, markdown, percent
from tests.benchmarks.made_tables import Guessing, Keeping, Law, all_counts, flipping

PART = "9"
DRAWS = 20_000
SIZES, OPTIONS = (100, 570, 3000), (2, 4, 10)
COVERED, WRONG, TOGETHER = 0.945, 0.027, 0.054
"""At 95 %: covered in 94.5 %, wrong to one side in 2.7 %, wrong anywhere in 5.4 %."""


def guessed(n: int, options: int) -> Iterator[tuple[str, Guessing | Keeping]]:
    """Tables in which knowledge is drawn anew, and tables in which next to nothing moves."""
    for before, after in ((0.9, 0.9), (0.6, 0.5), (0.3, 0.3), (0.1, 0.05), (0.95, 0.99), (0.0, 0.3)):
        yield (
            f"{100 * before:g} % known before, {100 * after:g} % after",
            Guessing(n=n, options=options, known_before=before, known_after=after),
        )
    for right, lost in ((0.97, 0.005), (0.97, 0.01), (0.9, 0.03), (0.8, 0.05), (0.7, 0.01)):
        yield (
            f"{100 * right:g} % right, {100 * lost:g} % lost, .5 % gained",
            Keeping(n=n, options=options, right=right, lost=lost, gained=0.005),
        )


@lru_cache
def forgetting_rates(law: Guessing | Keeping) -> tuple[float, float, float]:
    """(covered, overstated, mean error) of what is forgotten beyond guessing, cut at 0 as it is said."""
    lost, gained, both, _ = law.drawn(DRAWS, seed=law.n + law.options).T
    found = adjusted_share(lost, gained, both, law.n, law.options)
    low, high, value = (np.maximum(0.0, end) for end in (found.low, found.high, found.value))
    over, under = low > law.forgotten + 1e-12, high < law.forgotten - 1e-12
    return float(1 - (over | under).mean()), float(over.mean()), float(value.mean() - law.forgotten)


def forgetting_cells(sizes: Sequence[int] = SIZES) -> Iterator[Cell]:
    """Coverage, and how often forgetting is overstated."""
    for n in sizes:
        for options in OPTIONS:
            for case, law in guessed(n, options):
                covered, over, _ = forgetting_rates(law)
                named = f"n {n:,}, {options} options, {case}"
                yield Cell(part=PART, case=named, what="forgetting covered", rate=covered, bound=COVERED,
                           side="at least", error=error(COVERED))  # fmt: skip
                yield Cell(part=PART, case=named, what="forgetting overstated", rate=over, bound=WRONG,
                           error=error(WRONG))  # fmt: skip


def error(rate: float) -> float:
    """Standard error of a drawn rate."""
    return float(np.sqrt(rate * (1 - rate) / DRAWS))


NOISES = (3, 10, 30)
"""Flips that a further pass over the same weights gives on average."""
CLOSE = 4
"""So many times more items are close enough to flip."""


@lru_cache
def false_word(n: int, flips: int) -> tuple[float, float]:
    """`dropped` of the very same weights, where every flip of the later pass is a loss: (interval alone, beyond noise)."""
    close = CLOSE * flips
    seen = np.arange(close + 1)
    p = binom.pmf(seen, close, 1 / CLOSE)
    _, high = change_interval(seen, np.zeros_like(seen), n)
    said = high < 0
    most = np.array([Noise(flips=int(f), twice=close, close=close).most(0.05) for f in seen])
    return float(p[said].sum()), float(sum(p[f] * p[said & (seen > most[f])].sum() for f in seen))


@lru_cache
def power(n: int, flips: int, law: Law) -> tuple[float, float]:
    """`dropped` of a real change: (interval alone, beyond the noise of a base whose second pass flipped so many)."""
    counts = all_counts(law)
    _, high = change_interval(counts.lost, counts.gained, n)
    most = Noise(flips=flips, twice=n, close=CLOSE * flips).most(0.05)
    return float(counts.p[high < 0].sum()), float(counts.p[(high < 0) & (counts.lost > most)].sum())


def noise_cells(sizes: Sequence[int] = (570, 14_042)) -> Iterator[Cell]:
    """`dropped` of the very same weights, whatever the arithmetic does to the items that are close."""
    for n in sizes:
        for flips in NOISES:
            old, new = false_word(n, flips)
            yield Cell(part=PART, case=f"n {n:,}, the arithmetic alone flips {flips}, all one way", what="false `dropped`",
                       rate=new, bound=WRONG, old=old, old_fails=flips >= NOISES[1])  # fmt: skip


PAIRS = (1, 4, 10)


@lru_cache
def any_false(law: Law, pairs: int, alpha: float) -> tuple[float, float]:
    """(some word false, some interval off) of so many independent pairs without a change."""
    counts = all_counts(law)
    low, high = change_interval(counts.lost, counts.gained, law.n, 1 - alpha)
    word = counts.p[(high < 0) | (low > 0)].sum()
    off = counts.p[(low > law.change + 1e-12) | (high < law.change - 1e-12)].sum()
    return float(1 - (1 - word) ** pairs), float(1 - (1 - off) ** pairs)


def comparison_cells(sizes: Sequence[int] = (100, 570, 3000)) -> Iterator[Cell]:
    """Some `dropped` or `gained` among all pairs of a comparison in which nothing changed; before, each had 5 %."""
    for n in sizes:
        for flips in (0.05, 0.2):
            for pairs in PAIRS:
                law = flipping(n, flips, 0.0)
                (new, off), (old, _) = (any_false(law, pairs, alpha) for alpha in (0.05 / pairs, 0.05))
                case = f"n {n:,}, {100 * flips:g} % flip, {pairs} pairs"
                yield Cell(part=PART, case=case, what="a false word", rate=new, bound=TOGETHER, old=old,
                           old_fails=pairs > 1 and n >= 570)  # fmt: skip
                yield Cell(part=PART, case=case, what="all covered", rate=1 - off, bound=COVERED, side="at least")


def forgetting_summary(sizes: Sequence[int] = SIZES) -> str:
    """Worst of the laws by items and options."""
    rows = []
    for n in sizes:
        for options in OPTIONS:
            found = [forgetting_rates(law) for _, law in guessed(n, options)]
            worst = min(one[0] for one in found), max(one[1] for one in found)
            rows.append(
                (f"{n:,}", str(options), *map(percent, worst), f"{100 * max(abs(one[2]) for one in found):.2f}")
            )
    return markdown(("items", "options", "covered, least", "overstated, most", "mean off by at most, points"), rows)


def noise_summary(sizes: Sequence[int] = (570, 14_042)) -> str:
    """False `dropped` of the same weights, and what the floor costs where the loss is real: old -> new."""
    rows = []
    for n in sizes:
        for flips in NOISES:
            law = flipping(n, 0.05, -0.02)
            costs = [f"{100 * old:.0f} → {100 * new:.0f}" for old, new in (power(n, flips, law),)]
            most = Noise(flips=flips, twice=n, close=CLOSE * flips).most(0.05)
            rows.append((f"{n:,}", str(flips), str(most), " → ".join(map(percent, false_word(n, flips))), *costs))
    return markdown(
        ("items", "flips of a second pass", "up to", "false `dropped`, all one way", "`dropped` of 2 points lost"), rows
    )


def comparison_summary(n: int = 570, flips: float = 0.05) -> str:
    """Some false word among all pairs, and what that costs: old -> new."""
    rows = []
    for pairs in PAIRS:
        old, new = (any_false(flipping(n, flips, 0.0), pairs, alpha)[0] for alpha in (0.05, 0.05 / pairs))
        counts = all_counts(flipping(n, flips, -0.02))
        said = [change_interval(counts.lost, counts.gained, n, 1 - a)[1] < 0 for a in (0.05, 0.05 / pairs)]
        costs = " → ".join(f"{100 * counts.p[one].sum():.0f}" for one in said)
        rows.append((str(pairs), f"{percent(old)} → {percent(new)}", costs))
    return markdown(("pairs", "some false word", "`dropped` of 2 points lost"), rows)
