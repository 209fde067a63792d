"""Cells of a whole run: some false word, or a false action of the budget, at any of its evaluations.

A run's looks are made independent, each with flips of its own: of all ways in which looks may hang together the one with
the most different chances to be wrong. A look's rate is a sum over all counts; a run's follows from them, without noise.
"""

from collections.abc import Iterator, Sequence
from functools import cache

import numpy as np

from eval_hooks.budget import plan_of
from eval_hooks.config import Budget
from eval_hooks.retention.interval import change_interval
from eval_hooks.retention.spending import Plan, Spent, next_alpha
from tests.benchmarks.cells import Cell, markdown, percent
from tests.benchmarks.made_tables import Law, all_counts, flipping
from tests.eval_hooks import old_rules

SIZES = (100, 570, 3000, 14_042)
FLIPS = (0.01, 0.05, 0.20)
MARGIN = 0.02
WORDS, ACTIONS = "2", "3"
SLACK = 1.08
"""As for one look: 2.7 % to one side where 2.5 % are promised."""


def alphas(plan: Plan, looks: int | None = None, tasks: int = 1) -> list[float]:
    """What each evaluation of a run may spend on a task, the last one included; `looks` where the plan knows none."""
    spent: list[Spent] = []
    many = looks or plan.looks or 1
    for k in range(many):
        final = k == many - 1
        spent.append(Spent(step=k, alpha=next_alpha(plan, spent, final), final=final))
    return [one.alpha / tasks for one in spent]


@cache
def ends(law: Law, alpha: float) -> tuple[float, float, float, float, float]:
    """Chances at one look: wholly below 0, wholly above 0, wholly above -margin, wholly below -margin, truth missed."""
    counts = all_counts(law)
    if alpha <= 0:
        return 0.0, 0.0, 0.0, 0.0, 0.0
    low, high = change_interval(counts.lost, counts.gained, law.n, 1 - alpha)
    return _ends(law, counts.p, low, high)


@cache
def ends_before(law: Law) -> tuple[float, float, float, float, float]:
    """The same by the rule of before: every look for itself, by the bootstrap at 95 %."""
    counts = all_counts(law)
    return _ends(law, counts.p, *old_rules.change_interval(counts.lost, counts.gained, law.n))


def _ends(law: Law, p: np.ndarray, low: np.ndarray, high: np.ndarray) -> tuple[float, float, float, float, float]:
    missed = (low > law.change + 1e-12) | (high < law.change - 1e-12)
    sides = (high < 0, low > 0, (high >= 0) & (low > -MARGIN + 1e-12), high < -MARGIN - 1e-12, missed)
    below, above, kept, broken, wrong = (float(p[side].sum()) for side in sides)
    return below, above, kept, broken, wrong


def ever(rates: Sequence[float]) -> float:
    """Chance that something happens at one of several looks."""
    return float(1 - np.prod([1 - rate for rate in rates]))


def ever_in_a_row(rates: Sequence[float], patience: int) -> float:
    """Chance that it happens at so many looks in a row, by the states of the count so far."""
    state = np.zeros(patience + 1)
    state[0] = 1.0
    for rate in rates:
        following = np.zeros_like(state)
        following[0] = (1 - rate) * state[:-1].sum()
        following[1:] = rate * state[:-1]
        following[-1] += state[-1]
        state = following
    return float(state[-1])


def cells(sizes: Sequence[int] = SIZES) -> Iterator[Cell]:
    """Words where nothing changed or the margin is lost; the budget where exactly its limit is."""
    for n in sizes:
        for flips in FLIPS:
            yield from _words(n, flips)
            if flips >= MARGIN:
                yield from _actions(n, flips)


def _words(n: int, flips: float, looks: int = 10) -> Iterator[Cell]:
    """Ten looks; the old rule is known to fail wherever it could say anything at all."""
    law, case = flipping(n, flips, 0.0), f"n {n:,}, {100 * flips:g} % flip, no change, {looks} looks"
    now, before = [ends(law, a) for a in alphas(Plan(between=looks - 1))], [ends_before(law)] * looks
    fails = n * flips > 5

    def cell(case: str, what: str, new: float, old: float, bound: float, fails: bool) -> Cell:
        return Cell(part=WORDS, case=case, what=what, rate=new, bound=SLACK * bound, old=old, old_fails=fails)

    yield cell(case, "some false `dropped`", ever([r[0] for r in now]), ever([r[0] for r in before]), 0.025, fails)
    yield cell(case, "some `dropped` or `gained`", ever([r[0] + r[1] for r in now]),
               ever([r[0] + r[1] for r in before]), 0.05, fails)  # fmt: skip
    yield cell(case, "some interval misses the truth", ever([r[4] for r in now]), ever([r[4] for r in before]), 0.05,
               fails)  # fmt: skip
    if flips >= MARGIN:
        lost = flipping(n, flips, -MARGIN)
        found, old = [ends(lost, a) for a in alphas(Plan(between=looks - 1))], ends_before(lost)
        yield cell(f"n {n:,}, {100 * flips:g} % flip, the margin lost, {looks} looks", "some false `kept`",
                   ever([r[2] for r in found]), ever([old[2]] * looks), 0.025, n <= 570)  # fmt: skip


def _actions(n: int, flips: float) -> Iterator[Cell]:
    """Twenty looks at a loss of exactly the limit; 95 % is the promise, whatever is planned."""
    law, budget = flipping(n, flips, -MARGIN), Budget(accuracy_drop=MARGIN)
    at, old = f"n {n:,}, {100 * flips:g} % flip, the limit lost", ends_before(law)[3]
    plan = plan_of(budget, 19, 1)

    def cell(what: str, rates: Sequence[float], before: float | None, fails: bool = False) -> Cell:
        return Cell(part=ACTIONS, case=at, what=what, rate=ever(rates), bound=0.05, old=before, old_fails=fails)

    def broken(spent: Sequence[float]) -> list[float]:
        return [ends(law, alpha)[3] for alpha in spent]

    fails = n >= 570
    yield cell("acts, 20 looks", broken(alphas(plan)), ever([old] * 20), fails)
    row = ever_in_a_row(broken(alphas(plan)), 2)
    yield Cell(part=ACTIONS, case=at, what="acts, 20 looks, patience 2", rate=row, bound=0.05,
               old=ever_in_a_row([old] * 20, 2))  # fmt: skip
    if n > 570:
        return  # the rest differs in alpha alone, which the smaller tables show
    yield cell("acts, 20 looks, 2 tasks", broken(alphas(plan, tasks=2)) * 2, ever([old] * 40), fails)
    yield cell(
        "acts, 100 looks, nobody knew how many", broken(alphas(plan_of(budget, None, 1), 100)), ever([old] * 100)
    )
    yield cell("acts, 20 looks, made longer by 20", broken(longer(plan, 20)), ever([old] * 40), fails)
    yield cell("acts, 3 runs of a pipeline, 20 looks each", broken(alphas(plan_of(budget, 19, 3)) * 3),
               ever([old] * 60), fails)  # fmt: skip


def longer(plan: Plan, more: int) -> list[float]:
    """What the looks of a run may spend that is made longer by `more` of them when it has ended."""
    spent: list[Spent] = []
    for between, upto in ((plan.between or 0, plan.looks or 1), ((plan.between or 0) + more, (plan.looks or 1) + more)):
        planned = Plan(alpha=plan.alpha, between=between, final_share=plan.final_share)
        for k in range(len(spent), upto):
            spent.append(Spent(step=k, alpha=next_alpha(planned, spent, k == upto - 1), final=k == upto - 1))
    return [one.alpha for one in spent]


def price(sizes: Sequence[int] = SIZES) -> str:
    """What the promise costs, as a Markdown table: words at the end, actions before it, then and now."""
    rows = []
    for n in sizes:
        for flips in FLIPS[1:]:
            none, twice = flipping(n, flips, 0.0), flipping(n, flips, -2 * MARGIN)
            spent = alphas(Plan(between=9))
            old = ends_before(twice)
            rows.append((
                f"{n:,}", f"{100 * flips:g}",
                _both(ever([ends_before(none)[0]] * 10), ever([ends(none, a)[0] for a in spent])),
                _both(ends_before(none)[2], ends(none, spent[-1])[2]),
                _both(ends_before(twice)[0], ends(twice, spent[-1])[0]),
                _both(ever([ends_before(flipping(n, flips, -MARGIN))[3]] * 20),
                      ever([ends(flipping(n, flips, -MARGIN), a)[3] for a in alphas(Plan(between=19))])),
                _both(old[3], ends(twice, spent[0])[3]),
                _both(ever([old[3]] * 10), ever([ends(twice, a)[3] for a in spent])),
            ))  # fmt: skip
    return markdown(
        ("items", "flip, %", "some false `dropped`, 10 looks", "`kept` at the end of no change",
         "`dropped` at the end of 4 points lost", "acts at the limit, 20 looks", "acts at twice the limit, first look",
         "the same, at some of 10 looks"),
        rows,
    )  # fmt: skip


def _both(old: float, new: float) -> str:
    return f"{percent(old)} → {percent(new)}"
