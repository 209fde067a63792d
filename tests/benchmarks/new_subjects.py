"""Cells of new subjects: the interval of whole subjects, where these are a sample of subjects that changed unlike.

Rates are of seeded draws; the items of the subjects are drawn too.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from eval_hooks.retention.interval import change_interval
from eval_hooks.retention.subjects import clustered_interval
from tests.benchmarks.cells import Cell, markdown, percent
from tests.benchmarks.made_tables import Subjects, subject_counts
from tests.eval_hooks import old_rules

PART = "6"
DRAWS = 20_000
COVERED = 0.945
MMLU = (
    79, 80, 80, 80, 80, 80, 80, 80, 80, 80, 82, 82, 86, 88, 90, 91, 97, 101, 105, 108, 115, 116, 121, 122, 129, 132, 133,
    136, 137, 154, 158, 161, 162, 163, 173, 178, 187, 188, 190, 190, 196, 196, 216, 218, 226, 245, 248, 249, 259, 277,
    302, 312, 436, 490, 626, 716, 1227,
)  # fmt: skip
"""Items of each subject of a copy of MMLU's test split, of which some 2,800 rows are missing."""
BANKS: dict[str, tuple[int, ...]] = {
    "57 of 10": (10,) * 57,
    "57 as in MMLU": MMLU,
    "13 of 5 to 118": (5, 8, 10, 15, 20, 30, 40, 44, 50, 60, 80, 90, 118),
    "13 of 44": (44,) * 13,
    "5 of 20 to 270": (20, 40, 80, 160, 270),
    "5 of 100": (100,) * 5,
}
CHANGES = ((0.0, 0.01), (-0.02, 0.01), (-0.02, 0.20))
"""(change, least share of flips)."""
SDS = (0.0, 0.05, 0.10)


@dataclass(frozen=True, kw_only=True)
class Rates:
    """How three intervals fare under one law: of new subjects, of items like these, of whole subjects resampled."""

    covered: float
    one_side: float
    """Wrong to one side, the worse one."""
    items: float
    """Covered by the interval of items."""
    before: float
    """Covered by whole subjects resampled."""
    width: float
    width_before: float


@lru_cache
def judged(law: Subjects, draws: int = DRAWS) -> Rates:
    """Of so many draws of the law; the older rule of a quarter of them, since it resamples each."""
    lost, gained = subject_counts(law, draws, np.random.default_rng(0))
    sizes = np.array(law.sizes)
    low, high = clustered_interval(gained - lost, sizes, 0.05)
    of_items = change_interval(lost.sum(axis=1), gained.sum(axis=1), sizes.sum())
    low, high = np.minimum(low, of_items[0]), np.maximum(high, of_items[1])
    before = old_rules.clustered_interval((gained - lost)[: draws // 4], sizes)
    return Rates(
        covered=covered(law, low, high),
        one_side=float(max((low > law.change + 1e-12).mean(), (high < law.change - 1e-12).mean())),
        items=covered(law, *of_items),
        before=covered(law, *before),
        width=float((high - low).mean()),
        width_before=float((before[1] - before[0]).mean()),
    )


def covered(law: Subjects, low: np.ndarray, high: np.ndarray) -> float:
    """How often the mean change over subjects is inside."""
    return float(((low <= law.change + 1e-12) & (high >= law.change - 1e-12)).mean())


def laws(sizes: tuple[int, ...]) -> Iterator[Subjects]:
    """No change and 2 points lost, few flips and many, subjects alike and unlike."""
    for change, flips in CHANGES:
        for sd in SDS:
            yield Subjects(sizes=sizes, change=change, sd=sd, flips=flips)


def cells(banks: Mapping[str, tuple[int, ...]] = BANKS, draws: int = DRAWS) -> Iterator[Cell]:
    """Coverage under every law; whole subjects resampled must fail with 13 unequal ones and with 5."""
    for name, sizes in banks.items():
        for law in laws(sizes):
            found = judged(law, draws)
            yield Cell(
                part=PART, case=f"subjects: {name}, effects' sd {law.sd:g}, {100 * law.change:g} points, "
                f"{100 * law.flips:g} % flip", what="covered", rate=found.covered, bound=COVERED, side="at least",
                error=float(np.sqrt(COVERED * (1 - COVERED) / draws)), old=found.before,
                old_fails=len(sizes) <= 13 and law.sd == 0.10,
            )  # fmt: skip


def summary(banks: Mapping[str, tuple[int, ...]] = BANKS, draws: int = DRAWS) -> str:
    """Least coverage of the three intervals by subjects and their effects' sd, and the price, as a Markdown table.

    Skewed: 2 points lost on average, in most subjects none and in a few much; no cell holds there.
    """
    rows = []
    for name, sizes in banks.items():
        groups = {f"{100 * sd:g}": [law for law in laws(sizes) if law.sd == sd] for sd in SDS}
        groups["5, skewed"] = [Subjects(sizes=sizes, change=-0.02, sd=0.05, skewed=True)]
        for sd, group in groups.items():
            found = [judged(law, draws) for law in group]
            many = found[-1]
            rows.append(
                (
                    name, sd, percent(min(r.items for r in found)),
                    f"{percent(min(r.before for r in found))} → {percent(min(r.covered for r in found))}",
                    percent(max(r.one_side for r in found)),
                    f"{100 * many.width_before:.1f} → {100 * many.width:.1f}",
                )
            )  # fmt: skip
    return markdown(
        ("subjects, items of each", "effects' sd, points", "covered by the items' interval, least",
         "by that of subjects, least", "wrong to one side, most", "width, points"),
        rows,
    )  # fmt: skip
