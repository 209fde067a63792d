"""The judge beside what people would use instead, on the same made tables: false verdicts, and missed ones.

    python -m tests.benchmarks.verdict_rivals [tables, a share of all, default 1]

A law is a number of items, a share that flips (1, 5, 20 %) and a change: none, the margin lost, twice the margin lost;
where that is more than the share, every flip is a loss. Each rule gives a word of every table, asked in a Python of its
rival's own (made with pip in the cache, tests/benchmarks/rivals/), so that it is the rival's code that decides. Its word
is `loss` (dropped, regressed, significantly worse, rejected), `kept` (kept, passed, OK, healthy) or neither. False is
`loss` where nothing changed and `kept` where the margin or more is lost; missed is no `loss` where it is. Ten looks are
ten evaluations of a run in which nothing changed, their flips drawn apart, which is the worst case; a run is false where
any of its looks is.

Ours has two rows: `delta`, one look at 95 %, and `delta_run`, a run of ten looks that spends 5 % over all of them and is
judged by the last. Code 1 where ours breaks a promise, or where Tango's interval (evalstats) is not ours to 1e-6.
"""

import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from eval_hooks.estimate import Estimate
from eval_hooks.retention import verdict
from eval_hooks.retention.interval import METHOD, change_interval, score_low
from eval_hooks.retention.spending import Plan, planned_alphas
from tests.benchmarks.cells import markdown
from tests.benchmarks.machine import machine
from tests.benchmarks.made_tables import Law, flipping
from tests.benchmarks.rivals.asked import Table
from tests.benchmarks.rivals.catalog import ALL, ONE_SIDE, RIVALS, SIZES, Rival, Rule
from tests.benchmarks.rivals.installed import UnavailableError, ask

MARGIN = 0.02
FLIPS = (0.01, 0.05, 0.20)
LOSSES = (0.0, MARGIN, 2 * MARGIN)
LOOKS = 10
FEWEST_RUNS = 20
"""For a share of runs."""
ERRORS = 4
"""Standard errors that a rate may lie above its promise."""
AGREES = 1e-6
OURS = {
    "delta": Rule(name="temper, delta", promise=ONE_SIDE, kept="kept"),
    "delta_run": Rule(name="temper, delta_run", promise=ONE_SIDE, over_looks=True, kept="kept"),
}
WORDS = {"dropped": "loss", "gained": "gain", "kept": "kept", "undecided": ""}

Tables = Mapping[tuple[int, float, float], list[Table]]
"""By items, share that flips, loss."""


@dataclass(frozen=True, kw_only=True)
class Word:
    """What a rule says of a table."""

    early: str
    """Where other looks of the run follow."""
    last: str
    """Where none does."""


@dataclass(frozen=True, kw_only=True)
class Rates:
    """Of one rule on the laws of one size and share of flips."""

    false: float
    """`loss`, where nothing changed."""
    runs: float | None
    """Of ten looks with a false one among them; None of too few runs."""
    missed: tuple[float, float]
    """Of the margin, of twice the margin."""
    kept: tuple[float, float]
    """`kept` where that much is lost."""
    tables: int


def laws() -> Iterator[tuple[tuple[int, float, float], Law]]:
    """Every law by its key."""
    for n in SIZES:
        for flips in FLIPS:
            for loss in LOSSES:
                yield (n, flips, loss), flipping(n, max(flips, loss), -loss)


def drawn(share: float = 1.0, seed: int = 0) -> Tables:
    """The tables of every law; `share` of them."""
    made = {}
    for place, (key, law) in enumerate(laws()):
        rng, n = np.random.default_rng([seed, place]), law.n
        counts = rng.multinomial(n, [law.lost, law.gained, 1 - law.lost - law.gained], size=_some(ALL[n], share))
        made[key] = [(n, lost, gained) for lost, gained, _ in counts.tolist()]
    return made


def _some(tables: int, share: float) -> int:
    return -(-int(tables * share) // LOOKS) * LOOKS


def asked_of(rule: Rule, tables: Tables, share: float) -> list[Table]:
    """The tables that a rule is to say a word of, each once."""
    mine = (table for key, law in tables.items() for table in law[: _some(rule.tables.get(key[0], 0), share)])
    return sorted(set(mine))


def look_levels() -> tuple[float, float]:
    """Of a run of ten looks at 5 %: the level of each before the last, and that of the last."""
    between, final = planned_alphas(Plan(between=LOOKS - 1))
    assert between is not None
    return 1 - between, 1 - final


def ours(tables: Sequence[Table]) -> dict[str, dict[Table, Word]]:
    """The judge's own words, by its interval and its verdict, at the level of one look and at those of a run."""
    levels = {"delta": (0.95, 0.95), "delta_run": look_levels()}
    return {
        name: {
            table: Word(early=early, last=last)
            for table, early, last in zip(tables, *(_ours_at(tables, level) for level in pair), strict=True)
        }
        for name, pair in levels.items()
    }


def _ours_at(tables: Sequence[Table], level: float) -> list[str]:
    n, lost, gained = np.array(tables).T
    low, high = change_interval(lost, gained, n, level)
    return [
        WORDS[verdict(Estimate(value=v, low=a, high=b, n=int(m), method=METHOD), MARGIN)]
        for v, a, b, m in zip((gained - lost) / n, low, high, n, strict=True)
    ]


def rates(rule: Rule, words: Mapping[Table, Word], tables: Tables, n: int, flips: float, share: float) -> Rates:
    """Of a rule on one size and share of flips."""
    k = _some(rule.tables[n], share)
    none, margin, twice = ([words[table] for table in tables[n, flips, loss][:k]] for loss in LOSSES)
    runs = [none[i : i + LOOKS] for i in range(0, k, LOOKS)]
    return Rates(
        false=_share(one.last == "loss" for one in none),
        runs=_share(any_false(run) for run in runs) if len(runs) >= FEWEST_RUNS else None,
        missed=(_share(one.last != "loss" for one in margin), _share(one.last != "loss" for one in twice)),
        kept=(_share(one.last == "kept" for one in margin), _share(one.last == "kept" for one in twice)),
        tables=len(none),
    )


def any_false(run: Sequence[Word]) -> bool:
    """Whether a run in which nothing changed hears of a loss."""
    *before, last = run
    return last.last == "loss" or any(one.early == "loss" for one in before)


def _share(hits: Iterable[bool]) -> float:
    return float(np.mean(list(hits)))


def keeps(promise: float | None, rate: float | None, n: int) -> bool | None:
    """Whether a rate of n draws is within the promise; None where either is missing."""
    if promise is None or rate is None:
        return None
    return rate <= promise + ERRORS * (promise * (1 - promise) / n) ** 0.5


@dataclass(frozen=True, kw_only=True)
class Row:
    """One rule on all laws of one size, by share of flips."""

    name: str
    rule: Rule
    n: int
    rates: tuple[Rates, ...]

    @property
    def in_one_look(self) -> bool | None:
        """Whether its promise of one look is kept; None where it gives none."""
        return _all(keeps(self.rule.promise, one.false, one.tables) for one in self.rates)

    @property
    def in_ten_looks(self) -> bool | None:
        """Whether the same promise holds of a run."""
        return _all(keeps(self.rule.promise, one.runs, one.tables // LOOKS) for one in self.rates)

    @property
    def missed(self) -> float:
        """Mean over shares of flips and both losses."""
        return float(np.mean([one.missed for one in self.rates]))


def _all(answers: Iterable[bool | None]) -> bool | None:
    known = list(answers)
    return None if None in known else all(known)


def rows_of(name: str, rule: Rule, words: Mapping[Table, Word], tables: Tables, share: float) -> list[Row]:
    """A rule's row of every size that it is asked about."""
    return [
        Row(name=name, rule=rule, n=n, rates=tuple(rates(rule, words, tables, n, flips, share) for flips in FLIPS))
        for n in SIZES
        if rule.tables.get(n)
    ]


def table_of(rows: Iterable[Row]) -> str:
    """Markdown, rates in percent, the three shares of flips beside each other."""
    return markdown(
        ("rule", "promise", "items", "false `loss`, one look", "any of ten looks", "missed: the margin", "twice the margin",
         "false `kept`: the margin", "twice the margin", "tables a law"),
        (
            (
                row.name,
                _promise(row.rule),
                f"{row.n:,}",
                _cell((one.false for one in row.rates), row.in_one_look),
                _cell((one.runs for one in row.rates), row.in_ten_looks),
                *(_cell(one.missed[i] for one in row.rates) for i in (0, 1)),
                *(_cell(one.kept[i] for one in row.rates) if row.rule.kept else "no word" for i in (0, 1)),
                f"{row.rates[0].tables:,}",
            )
            for row in rows
        ),
    )  # fmt: skip


def _promise(rule: Rule) -> str:
    return "none" if rule.promise is None else f"{100 * rule.promise:g} in {'a run' if rule.over_looks else 'a look'}"


def _cell(of_flips: Iterable[float | None], holds: bool | None = None) -> str:
    shown = " / ".join(
        "–" if one is None else f"{100 * one:.1f}" if one < 0.1 else f"{100 * one:.0f}" for one in of_flips
    )
    return shown if holds is not False else f"**{shown}**"


def best(rows: Sequence[Row]) -> Iterator[str]:
    """By size, those that keep their promise, the fewest missed first."""
    for n in SIZES:
        for what, held in (("one look", "in_one_look"), ("ten looks", "in_ten_looks")):
            holding = sorted((row for row in rows if row.n == n and getattr(row, held)), key=lambda row: row.missed)
            names = "; ".join(f"{row.name} {100 * row.missed:.1f}" for row in holding) or "none"
            yield f"{n:,} items, promise kept in {what}, mean of the missed in %: {names}"


def too_slow() -> Iterator[str]:
    """The rules that are not asked of every size."""
    for rival in RIVALS:
        for rule in rival.rules:
            if left := [f"{n:,}" for n in SIZES if n not in rule.tables]:
                yield f"{rival.name}, {rule.name}: not asked of {', '.join(left)} items, which would take minutes"


def disagreement(bounds: Sequence[tuple[float, float]], tables: Sequence[Table]) -> float:
    """How far Tango's interval lies from ours, at most."""
    n, lost, gained = np.array(tables).T.astype(float)
    ends = score_low(lost, gained, n, 0.95), -score_low(gained, lost, n, 0.95)
    return float(np.abs(np.array(bounds) - np.stack(ends, axis=1)).max())


def rows_of_rival(rival: Rival, tables: Tables, share: float) -> list[Row]:
    """Asks a rival all its rules. Raises UnavailableError."""
    asked = {rule.name: asked_of(rule, tables, share) for rule in rival.rules}
    answers = ask(rival, asked, MARGIN)
    print(f"{rival.name}: " + ", ".join(f"{name} {one['seconds']:.0f} s" for name, one in answers.items()), flush=True)
    rows = []
    for rule in rival.rules:
        said = zip(asked[rule.name], answers[rule.name]["words"], strict=True)
        words = {table: Word(early=word, last=word) for table, word in said}
        rows += rows_of(f"{rival.name}, {rule.name}", rule, words, tables, share)
    return rows


def tango_disagrees(tables: Sequence[Table]) -> str:
    """What is wrong with our score interval beside evalstats' Tango interval; empty where they agree."""
    rival = next(one for one in RIVALS if one.name == "evalstats")
    far = disagreement(ask(rival, {"bounds of Tango": tables}, MARGIN)["bounds of Tango"]["words"], tables)
    print(f"Tango's interval, evalstats' and ours: {far:.1e} apart at most, {len(tables)} tables", flush=True)
    return f"Tango's interval is not ours: {far:.1e}" if far > AGREES else ""


def main() -> int:
    """Print all; 1 where ours does not hold."""
    share = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0
    start, tables = time.monotonic(), drawn(share)
    words = ours(every := asked_of(OURS["delta"], tables, share))
    rows = [row for name, rule in OURS.items() for row in rows_of(rule.name, rule, words[name], tables, share)]
    wrong = broken(rows)
    for rival in RIVALS:
        try:
            rows += rows_of_rival(rival, tables, share)
            if rival.name == "evalstats":
                wrong += filter(None, [tango_disagrees(every[:: max(1, len(every) // 500)])])
        except UnavailableError as error:
            unchecked = ", so that Tango's interval is held against nothing" if rival.name == "evalstats" else ""
            print(f"{rival.name} cannot be asked here{unchecked}: {error}", flush=True)
    print(f"\n{table_of(rows)}\n", *best(rows), *too_slow(), "", *wrong, sep="\n")
    print(f"{time.monotonic() - start:.0f} s, {machine()}")
    return 1 if wrong else 0


def broken(rows: Iterable[Row]) -> list[str]:
    """The promises among these that are not kept."""
    return [
        f"{row.name}, {row.n:,} items: false more often than promised"
        for row in rows
        if row.in_one_look is False or (row.rule.over_looks and row.in_ten_looks is False)
    ]


if __name__ == "__main__":
    sys.exit(main())
