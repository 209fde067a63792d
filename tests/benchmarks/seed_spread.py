"""Cells of the spread over seeds: sigma's interval, the difference that two more runs pass, signal to noise.

Scores are whole numbers of right answers, so that runs of little spread are often equal. Drawn, with a seed a cell.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np

from eval_hooks.variance.spread import sigma_estimate, signal_to_noise, smallest_difference
from tests.benchmarks.cells import Cell, markdown, percent
from tests.benchmarks.made_tables import run_scores
from tests.eval_hooks import old_rules

PART = "7"
RUNS = (2, 3, 5, 10)
SIZES = (0.1, 0.3, 1.0, 3.0, 20.0)
"""Of a law, in items."""
KINDS = ("rounded", "edge", "flips")
TIMES = 20_000
RATIOS, RATIO_TIMES = (0.0, 2.0, 20.0), 2000


@lru_cache
def rates(kind: str, size: float, runs: int, times: int = TIMES) -> dict[str, tuple[float, float]]:
    """What -> (before, now), of one law and number of runs."""
    rng = np.random.default_rng([KINDS.index(kind), int(100 * size), runs])
    scores, pair = (run_scores(kind, size, rng, (times, k)) for k in (runs, 2))
    truth = run_scores(kind, size, rng, (2 * times, 2)).std()
    spreads, of = np.unique((scores - scores[:, :1]).std(axis=1, ddof=1).round(12), return_inverse=True)
    apart = np.abs(pair[:, 0] - pair[:, 1])
    ends_before = [old_rules.sigma_interval(s, runs) for s in spreads]
    ends = [sigma_estimate(float(s), runs, 1.0) for s in spreads]
    within = [[end is not None and end[0] <= truth <= end[1] for end in ends_before],
              [end.low is not None and end.low - 1e-9 <= truth <= end.high for end in ends]]  # fmt: skip
    none = [[end is None for end in ends_before], [end.low is None for end in ends]]
    least = [[old_rules.smallest_difference(s) for s in spreads], [smallest_difference(s, runs, 1.0) for s in spreads]]
    return {
        "no interval": _both(np.array(none)[:, of].mean(axis=1)),
        "sigma covered": _both(np.array(within)[:, of].mean(axis=1)),
        "two more runs further apart": _both((apart > np.array(least)[:, of] + 1e-9).mean(axis=1)),
        "smallest": _both(np.array(least)[:, of].mean(axis=1)),
    }


def _both(pair: np.ndarray) -> tuple[float, float]:
    return float(pair[0]), float(pair[1])


def cells(runs: Sequence[int] = RUNS, times: int = TIMES) -> Iterator[Cell]:
    """Every law and number of runs; the old rules are known to fail at few runs, and where the spread is of few items."""
    for kind in KINDS:
        for size in SIZES:
            for few in runs:
                found, case = rates(kind, size, few, times), f"{few} runs, {kind}, {size:g} items"
                for what, bound, side, fails in (
                    ("no interval", 0.0, "at most", size <= 0.3 and kind == "rounded"),
                    ("sigma covered", 0.945, "at least", size <= 0.3 and kind == "rounded"),
                    ("two more runs further apart", 0.055, "at most", few <= 3 and size >= 1),
                ):
                    old, now = found[what]
                    yield Cell(
                        part=PART, case=case, what=what, rate=now, bound=bound, side=side, old=old, old_fails=fails,
                        error=float(np.sqrt(bound * (1 - bound) / times)),
                    )  # fmt: skip
    yield from ratio_cells(runs)


@lru_cache
def ratio_covered(runs: int, truth: float, times: int = RATIO_TIMES) -> tuple[float, float]:
    """How often the interval of signal to noise holds the true ratio, (before, now)."""
    rng = np.random.default_rng([runs, int(truth)])
    draws = [(float(x.mean()), float(x.std(ddof=1))) for x in rng.normal(truth, 1.0, (times, runs))]
    now = [signal_to_noise(mean, sigma_estimate(sd, runs)) for mean, sd in draws]
    before = [old_rules.signal_to_noise_interval(mean, sd, runs) for mean, sd in draws]
    return (
        float(np.mean([low <= truth <= high for low, high in before])),
        float(np.mean([end.low is not None and end.high is not None and end.low <= truth <= end.high for end in now])),
    )


def ratio_cells(runs: Sequence[int] = RUNS) -> Iterator[Cell]:
    """The interval of signal to noise holds the true ratio; where there is no signal the one of before never did."""
    for few in runs:
        for truth in RATIOS:
            old, now = ratio_covered(few, truth)
            yield Cell(
                part=PART, case=f"{few} runs, signal {truth:g} sigma", what="signal to noise covered", bound=0.945,
                rate=now, side="at least", old=old, old_fails=truth == 0,
                error=float(np.sqrt(0.055 * 0.945 / RATIO_TIMES)),
            )  # fmt: skip


def summary(runs: Sequence[int] = RUNS, times: int = TIMES) -> str:
    """Worst of the laws by number of runs, as a Markdown table: before -> now."""
    rows = []
    for few in runs:
        found = [rates(kind, size, few, times) for kind in KINDS for size in SIZES]
        plain = rates("rounded", 20.0, few, times)
        rows.append(
            (
                f"{few}",
                *(
                    " → ".join(percent(worst(one[what][i] for one in found)) for i in (0, 1))
                    for what, worst in (
                        ("no interval", max),
                        ("sigma covered", min),
                        ("two more runs further apart", max),
                    )
                ),
                " → ".join(percent(plain["two more runs further apart"][i]) for i in (0, 1)),
                " → ".join(f"{plain['smallest'][i] / 20:.1f}" for i in (0, 1)),
                " → ".join(map(percent, ratio_covered(few, 0.0))),
            )
        )
    return markdown(
        ("runs", "no interval, most", "sigma covered, least", "two more runs further apart, most",
         "the same, sigma 20 items", "shown, in sigma", "no signal: its ratio covered"),
        rows,
    )  # fmt: skip
