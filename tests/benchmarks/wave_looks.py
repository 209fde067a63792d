"""Cells of an evaluation in waves: what it decides before all is scored, what its intervals cover, where its value lies.

Rates are over orders in which the items of made banks are drawn, to each bank its own; the bank, and so the truth, is
the same for all. The loss is exactly what is allowed (then whatever is decided is wrong), none at all, or twice that.
"""

import copy
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from eval_hooks.retention.looks import Seen, decide
from eval_hooks.retention.strata import allocate, order
from eval_hooks.waves import Drawn, Looks, shares
from tests.benchmarks.cells import Cell, markdown, percent
from tests.benchmarks.made_tables import WHERE, Bank, bank
from tests.eval_hooks.old_rules import DrawnBefore
from tests.eval_hooks.tables import choices

SIZES = (500, 2000, 11_000)
FLIPS = (0.05, 0.20)
ALLOWED = 0.02
LOSSES = {ALLOWED: "the limit lost", 0.0: "nothing lost", 2 * ALLOWED: "twice the limit lost"}
ALPHAS = (0.05, 0.01, 0.002)
RUNS = 300
LEAST_COVERED, MOST_BIAS = 0.945, 0.1
PART = "4"
FAILED = {
    ("wrong decision", 500, 0.20, "high margins"),
    ("covered", 500, 0.20, "high margins"),
    *(("bias in standard errors", 11_000, 0.20, where) for where in WHERE),
}
"""Where the rule of before is known to fail."""


@dataclass(frozen=True, kw_only=True)
class Outcomes:
    """What came of each order, (R,)."""

    truth: float
    wrong: dict[float, np.ndarray]
    """Whether it decided wrongly, by alpha."""
    covered: np.ndarray
    value: np.ndarray
    se: np.ndarray
    """Of the value; 0 where all was scored."""
    at_looks: np.ndarray
    """Estimate of each look, wherever the looking ended, (R, looks): the mean of each is the truth."""
    items: np.ndarray

    @property
    def unit(self) -> float:
        """A standard error where it ended early; 1 where it never did."""
        early = self.se > 0
        return float(self.se[early].mean()) if early.any() else 1.0


def again(start: Drawn, seed: int, alpha: float) -> Drawn:
    """A fresh evaluation of the same bank in another order; reading its table anew would take most of the time."""
    drawn = copy.copy(start)
    drawn.looks = replace(drawn.looks, alpha=alpha, seed=seed)
    drawn.seen, drawn._order = Seen(shares(drawn.waves)), order(drawn.stratum, seed)
    drawn._scored, drawn._change = np.zeros_like(drawn.sizes), np.full(len(drawn.stratum), np.nan)
    return drawn


def estimates(drawn: Drawn, change: np.ndarray) -> np.ndarray:
    """Of each look before all is scored, had none decided, (looks,)."""
    sizes, scored, found = drawn.sizes, np.zeros_like(drawn.sizes), []
    for wave in drawn.waves[:-1]:
        scored = scored + allocate(sizes, scored, drawn._rates, wave)
        means = [change[items[:n]].mean() for items, n in zip(drawn._order, scored, strict=True)]
        found.append(means @ sizes / sizes.sum())
    return np.array(found)


def outcomes(made: Bank, kind: type[Drawn], runs: int, alphas: Sequence[float], first: int = 0) -> Outcomes:
    """Of so many orders, of the first seed and on. Each is walked once, to where the smallest alpha decides; the largest ends it in the rest."""
    margin, truth = made.margin, float(made.change.mean())
    start = kind(choices([[one, 0.0] for one in margin], [0] * len(margin)), Looks(allowed=ALLOWED))
    wrong = {alpha: np.zeros(runs, dtype=bool) for alpha in alphas}
    covered, value, se, items = (np.zeros(runs) for _ in range(4))
    at_looks = np.empty((runs, len(start.waves) - 1))
    for seed in range(runs):
        drawn, open_ = again(start, first + seed, min(alphas)), set(alphas)
        at_looks[seed] = estimates(drawn, made.change)
        covered[seed], value[seed], items[seed] = True, truth, len(margin)
        while (wave := drawn.next()) is not None:
            drawn.note(wave, made.change[wave])
            for alpha in list(open_) if not drawn.whole else ():
                low, high = drawn.interval(alpha)
                if (word := decide((low, high), ALLOWED)) == "undecided":
                    continue
                open_.discard(alpha)
                loss_is_more = truth < -ALLOWED - 1e-12
                at_limit = abs(truth + ALLOWED) < 1e-12
                wrong[alpha][seed] = at_limit or (word == "proven") != loss_is_more
                if alpha == max(alphas):
                    drawn.looks = replace(drawn.looks, alpha=alpha)
                    covered[seed], value[seed], items[seed] = low <= truth <= high, drawn.value(), len(drawn.items)
                    se[seed] = drawn.change().se
                    drawn.looks = replace(drawn.looks, alpha=min(alphas))
    return Outcomes(
        truth=truth, wrong=wrong, covered=covered, value=value, se=se, at_looks=at_looks, items=items
    )  # fmt: skip


@lru_cache
def judged(n: int, flips: float, where: str, loss: float, runs: int, kind: type[Drawn]) -> Outcomes:
    """Of a made bank; other levels than the first where the loss is the limit, and by the rule that is in use."""
    own = zlib.crc32(f"{n} {flips} {where} {loss}".encode())
    made = bank(n, flips, where, -loss, np.random.default_rng(own))
    return outcomes(made, kind, runs, ALPHAS if loss == ALLOWED and kind is Drawn else ALPHAS[:1], own)


def cells(sizes: Sequence[int] = SIZES, runs: int = RUNS) -> Iterator[Cell]:
    """Wrong decisions, coverage and bias of every bank."""
    for n in sizes:
        for flips in FLIPS:
            for where in WHERE:
                for loss in LOSSES:
                    yield from _of_bank(n, flips, where, loss, runs)


def _of_bank(n: int, flips: float, where: str, loss: float, runs: int) -> Iterator[Cell]:
    now, before = (judged(n, flips, where, loss, runs, kind) for kind in (Drawn, DrawnBefore))
    case = f"n {n:,}, {100 * flips:g} % flip at {where}, {LOSSES[loss]}"

    def fails(what: str) -> bool:
        return (what, n, flips, where) in FAILED and (loss == ALLOWED) == (what == "wrong decision")

    for alpha, wrong in now.wrong.items():
        yield Cell(
            part=PART, case=case if alpha == ALPHAS[0] else f"{case}, alpha {alpha:g}", what="wrong decision",
            rate=wrong.mean(), bound=alpha, error=_error(alpha, runs),
            old=before.wrong[alpha].mean() if alpha in before.wrong else None,
            old_fails=alpha == ALPHAS[0] and fails("wrong decision"),
        )  # fmt: skip
    yield Cell(
        part=PART, case=case, what="covered", rate=now.covered.mean(), bound=LEAST_COVERED, side="at least",
        error=_error(LEAST_COVERED, runs), old=before.covered.mean(), old_fails=fails("covered"),
    )  # fmt: skip
    (off, error), (off_before, _) = bias(now), bias(before)
    yield Cell(
        part=PART, case=case, what="bias in standard errors", rate=abs(off), bound=MOST_BIAS, error=error,
        old=abs(off_before), old_fails=fails("bias in standard errors"),
    )  # fmt: skip


def _error(rate: float, runs: int) -> float:
    return float(np.sqrt(rate * (1 - rate) / runs))


def bias(found: Outcomes) -> tuple[float, float]:
    """(mean of value less truth, its standard error), both in standard errors of a value where it ended early.

    What an order's looks are off by is off by nothing on average, so what of the values' error follows from it by least
    squares is taken out (control variates: Lavenberg, Welch 1981, Management Science 27:322).
    """
    controls = np.column_stack([np.ones(len(found.value)), found.at_looks - found.truth])
    fitted, *_ = np.linalg.lstsq(controls, found.value - found.truth)
    rest = found.value - found.truth - controls @ fitted
    error = rest.std(ddof=controls.shape[1]) / np.sqrt(len(rest))
    return float(fitted[0]) / found.unit, float(error) / found.unit


def summary(sizes: Sequence[int] = SIZES, runs: int = RUNS) -> str:
    """By bank, as a Markdown table: before -> now."""
    rows = []
    for n in sizes:
        for flips in FLIPS:
            for where in WHERE:
                every = [
                    {loss: judged(n, flips, where, loss, runs, kind) for loss in LOSSES}
                    for kind in (DrawnBefore, Drawn)
                ]
                rows.append(
                    (
                        f"{n:,}", f"{100 * flips:g}", where,
                        _both(every, lambda by: percent(by[ALLOWED].wrong[0.05].mean())),
                        " / ".join(percent(every[1][ALLOWED].wrong[alpha].mean()) for alpha in ALPHAS[1:]),
                        _both(every, lambda by: percent(min(one.covered.mean() for one in by.values()))),
                        _both(every, lambda by: _plus_minus(bias(by[0.0]))),
                        _both(every, lambda by: _plus_minus(bias(by[2 * ALLOWED]))),
                        _both(every, lambda by: f"{np.median(by[0.0].items):,.0f}"),
                        _both(every, lambda by: f"{np.median(by[2 * ALLOWED].items):,.0f}"),
                    )
                )  # fmt: skip
    return markdown(
        ("items", "flip, %", "at", "wrong at the limit", "the same at alpha 1 / .2 %", "covered, least",
         "bias, nothing lost", "bias, twice the limit", "items, nothing lost", "items, twice the limit"),
        rows,
    )  # fmt: skip


def _plus_minus(found: tuple[float, float]) -> str:
    return f"{found[0]:+.2f} ± {found[1]:.2f}"


def _both(every: Sequence[dict[float, Outcomes]], of: Callable[[dict[float, Outcomes]], str]) -> str:
    return " → ".join(of(by) for by in every)
