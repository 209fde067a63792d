"""Cells of a verdict over seeds: two recipes, some runs of each, other seeds and other items in every made table.

Beside the rule in use stand what could be said before, one run of each compared item by item, and the textbook's
interval (`satterthwaite`). Drawn, with a seed a cell.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.stats import t

from eval_hooks.retention.interval import change_interval
from eval_hooks.seeds.interval import Moments, ends, moments
from eval_hooks.seeds.result import verdict
from tests.benchmarks.cells import Cell, markdown, percent
from tests.benchmarks.made_tables import Recipes, recipe_tables

PART = "7"
SIZES, SEEDS = (100, 570, 3000), (0.0, 0.005, 0.02)
RUNS = ((2, 2), (3, 3), (5, 5), (2, 5))
"""Of A, of B."""
FLIPS = ((0.01, 0.01), (0.0, 0.05), (0.05, 0.05), (0.2, 0.2))
"""(between runs of a recipe, between the recipes)."""
USUAL = (0.05, 0.05)
MARGIN = 0.02
TIMES = {100: 4000, 570: 4000, 3000: 2000}
BLOCK = 3_000_000
"""Answers at once."""

Bounds = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True, kw_only=True)
class Rates:
    """How an interval and its words fare under one law."""

    covered: float
    better: float
    """`A is better` or `B is better`."""
    wrong_way: float
    """The better recipe is called the worse one."""
    same: float
    """`no difference`."""
    width: float


@lru_cache
def judged(law: Recipes, times: int) -> dict[str, Rates]:
    """Rule -> rates: `one run`, `satterthwaite`, `now`."""
    rng = np.random.default_rng(
        [law.n, *law.runs, *(int(1e4 * x) for x in (*law.seeds, law.flips, law.apart, law.change))]
    )
    bounds: dict[str, list[Bounds]] = {}
    block = max(1, BLOCK // (law.n * max(law.runs)))
    for done in range(0, times, block):
        a, b = recipe_tables(law, rng, min(block, times - done))
        found = moments(a.astype(float), b.astype(float))
        made, (lost, gained) = ends(found), ((one & ~other).sum(axis=1) for one, other in _first(a, b))
        for rule, each in (
            ("one run", change_interval(lost, gained, law.n)),
            ("satterthwaite", satterthwaite(found)),
            ("now", (made.low, made.high)),
        ):
            bounds.setdefault(rule, []).append(each)
    return {rule: _rates(law, *(np.concatenate(ends_) for ends_ in zip(*each, strict=True)))
            for rule, each in bounds.items()}  # fmt: skip


def _first(a: np.ndarray, b: np.ndarray) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    """The first run of each: what B has and A lacks, what A has and B lacks."""
    return (b[:, 0], a[:, 0]), (a[:, 0], b[:, 0])


def _rates(law: Recipes, low: np.ndarray, high: np.ndarray) -> Rates:
    words = np.array([verdict(*pair, MARGIN) for pair in zip(low, high, strict=True)])
    wrong = "B is better" if law.change > 0 else "A is better"
    return Rates(
        covered=float(((low <= law.change + 1e-9) & (high >= law.change - 1e-9)).mean()),
        better=float(np.isin(words, ("A is better", "B is better")).mean()),
        wrong_way=float((words == wrong).mean()),
        same=float((words == "no difference").mean()),
        width=float((high - low).mean()),
    )


def satterthwaite(found: Moments, level: float = 0.95) -> Bounds:
    """D -+ t sqrt(V), V the same three components, t by Satterthwaite's degrees of freedom for their sum."""
    n, change = found.n, np.asarray(found.change)
    items = (found.squares - n * change**2) / (n * (n - 1))
    own = np.maximum(items - found.rest / (n * (n - 1)), 0.0)
    total = np.maximum(sum(found.variances) + own, items)
    below = sum(v**2 / (r - 1) for v, r in zip((*found.variances, own), (*found.runs, n), strict=True))
    freedom = np.divide(total**2, below, out=np.full_like(total, n - 1.0), where=below > 0)
    half = t.ppf((1 + level) / 2, np.minimum(freedom, n - 1)) * np.sqrt(total)
    return change - half, change + half


def laws(n: int, runs: tuple[int, int], seeds: float, change: float = 0.0) -> Iterator[tuple[str, Recipes]]:
    """Every pair of shares that flip; where seeds matter also a recipe whose seeds do beside one whose seeds do not."""
    for flips, apart in FLIPS if n < 3000 else (USUAL, FLIPS[0]):
        for pair in ((seeds, seeds), (seeds, 0.0)) if seeds == max(SEEDS) else ((seeds, seeds),):
            case = (
                f"n {n:,}, {said(runs)} runs, seeds {' and '.join(f'{100 * sd:g}' for sd in pair)} points, "
                f"{100 * flips:g} % flip, {100 * apart:g} % apart, change {100 * change:g}"
            )
            yield case, Recipes(n=n, runs=runs, seeds=pair, flips=flips, apart=apart, change=change)


def said(runs: tuple[int, int]) -> str:
    """How many of each."""
    return f"{runs[0]}" if runs[0] == runs[1] else f"{runs[0]} and {runs[1]}"


def cells(
    sizes: Sequence[int] = SIZES, runs: Sequence[tuple[int, int]] = RUNS, times: int | None = None
) -> Iterator[Cell]:
    """Coverage and false `better` of recipes that are equal; of recipes the margin apart, false `no difference` too."""
    for n in sizes:
        for few in runs:
            for seeds in SEEDS:
                for case, law in laws(n, few, seeds):
                    yield from _of_law(case, law, times or TIMES[n])
            for case, law in laws(n, few, SEEDS[1], MARGIN):
                if (law.flips, law.apart) == USUAL:
                    yield from _of_law(case, law, times or TIMES[n])


def _of_law(case: str, law: Recipes, times: int) -> Iterator[Cell]:
    found = judged(law, times)
    now, one = found["now"], found["one run"]
    noisy = min(law.seeds) >= 0.02 and law.n >= 570  # seeds far above what the items leave open

    def cell(what: str, rate: float, old: float, bound: float, side: str = "at most", fails: bool = False) -> Cell:
        error = float(np.sqrt(bound * (1 - bound) / times))
        return Cell(part=PART, case=case, what=what, rate=rate, old=old, bound=bound, side=side, old_fails=fails,
                    error=error)  # fmt: skip

    yield cell("covered", now.covered, one.covered, 0.945, "at least", noisy)
    if law.change == 0:
        yield cell("false `better`", now.better, one.better, 0.055, fails=noisy)
    else:
        yield cell("better one called worse", now.wrong_way, one.wrong_way, 0.027)
        yield cell("false `no difference`", now.same, one.same, 0.027)


def summary(sizes: Sequence[int] = SIZES, times: int | None = None) -> str:
    """Worst by items, runs and spread of the seeds, and the price: one run -> Satterthwaite -> now."""
    rows = []
    for n in sizes:
        for few in RUNS:
            for seeds in SEEDS if few[0] == few[1] else SEEDS[-1:]:
                found = [judged(law, times or TIMES[n]) for _, law in laws(n, few, seeds)]
                usual = Recipes(n=n, runs=few, seeds=(seeds, seeds), flips=USUAL[0], apart=USUAL[1])
                price = judged(usual, times or TIMES[n])
                power = [
                    judged(Recipes(**{**usual.__dict__, "change": d}), times or TIMES[n])["now"] for d in (0.02, 0.05)
                ]
                rules = ("one run", "satterthwaite", "now")
                rows.append(
                    (
                        f"{n:,}", said(few), f"{100 * seeds:g}",
                        " → ".join(percent(min(one[rule].covered for one in found)) for rule in rules),
                        " → ".join(percent(max(one[rule].better for one in found)) for rule in rules),
                        " → ".join(f"{100 * price[rule].width:.1f}" for rule in rules),
                        *(f"{100 * one.better:.0f}" for one in power),
                        f"{100 * price['now'].same:.0f}",
                    )
                )  # fmt: skip
    return markdown(
        ("items", "runs each", "seeds, points", "covered, least", "false `better`, most", "width, points",
         "`better` of 2 points", "of 5 points", "`no difference` of 0"),
        rows,
    )  # fmt: skip
