"""Cells of an evaluation in waves: what it decides before all is scored, what its intervals cover, where its value lies.

Rates are over orders in which the items of made banks are drawn; the bank, and so the truth, is the same for all. The
loss is exactly what is allowed (then whatever is decided is wrong), none at all, or twice that.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from eval_hooks.retention.looks import Seen, decide
from eval_hooks.retention.strata import order
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
RUNS = 200
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
    items: np.ndarray

    @property
    def unit(self) -> float:
        """A standard error where it ended early; 1 where it never did."""
        early = self.se > 0
        return float(self.se[early].mean()) if early.any() else 1.0


def again(start: Drawn, seed: int, alpha: float) -> Drawn:
    """A fresh evaluation of the same bank in another order; reading its table anew would take most of the time."""
    drawn = copy.copy(start)
    drawn.looks = Looks(allowed=ALLOWED, alpha=alpha, seed=seed)
    drawn.seen, drawn._order = Seen(shares(drawn.waves)), order(drawn.stratum, seed)
    drawn._scored, drawn._change = np.zeros_like(drawn.sizes), np.full(len(drawn.stratum), np.nan)
    return drawn


def outcomes(made: Bank, kind: type[Drawn], runs: int, alphas: Sequence[float]) -> Outcomes:
    """Of so many orders. Each is walked once, to where the smallest alpha decides; the largest ends it in the rest."""
    margin, truth = made.margin, float(made.change.mean())
    start = kind(choices([[one, 0.0] for one in margin], [0] * len(margin)), Looks(allowed=ALLOWED))
    wrong = {alpha: np.zeros(runs, dtype=bool) for alpha in alphas}
    covered, value, se, items = (np.zeros(runs) for _ in range(4))
    for seed in range(runs):
        drawn, open_ = again(start, seed, min(alphas)), set(alphas)
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
                    drawn.looks = Looks(allowed=ALLOWED, alpha=alpha, seed=seed)
                    covered[seed], value[seed], items[seed] = low <= truth <= high, drawn.value(), len(drawn.items)
                    se[seed] = drawn.change().se
                    drawn.looks = Looks(allowed=ALLOWED, alpha=min(alphas), seed=seed)
    return Outcomes(truth=truth, wrong=wrong, covered=covered, value=value, se=se, items=items)


@lru_cache
def judged(n: int, flips: float, where: str, loss: float, runs: int, kind: type[Drawn]) -> Outcomes:
    """Of a made bank; other levels than the first where the loss is the limit, and by the rule that is in use."""
    made = bank(n, flips, where, -loss, np.random.default_rng(0))
    return outcomes(made, kind, runs, ALPHAS if loss == ALLOWED and kind is Drawn else ALPHAS[:1])


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
    yield Cell(
        part=PART, case=case, what="bias in standard errors", rate=abs(bias(now)), bound=MOST_BIAS,
        error=float(now.value.std()) / now.unit / runs**0.5, old=abs(bias(before)),
        old_fails=fails("bias in standard errors"),
    )  # fmt: skip


def _error(rate: float, runs: int) -> float:
    return float(np.sqrt(rate * (1 - rate) / runs))


def bias(found: Outcomes) -> float:
    """Mean of value less truth, in standard errors where it ended early."""
    return float((found.value - found.truth).mean()) / found.unit


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
                        _both(every, lambda by: f"{bias(by[0.0]):+.2f}"),
                        _both(every, lambda by: f"{bias(by[2 * ALLOWED]):+.2f}"),
                        _both(every, lambda by: f"{np.median(by[0.0].items):,.0f}"),
                        _both(every, lambda by: f"{np.median(by[2 * ALLOWED].items):,.0f}"),
                    )
                )  # fmt: skip
    return markdown(
        ("items", "flip, %", "at", "wrong at the limit", "the same at alpha 1 / .2 %", "covered, least",
         "bias, nothing lost", "bias, twice the limit", "items, nothing lost", "items, twice the limit"),
        rows,
    )  # fmt: skip


def _both(every: Sequence[dict[float, Outcomes]], of: Callable[[dict[float, Outcomes]], str]) -> str:
    return " → ".join(of(by) for by in every)
