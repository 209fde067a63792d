"""Spread over seeds of one score: runs that differ in their seed alone, at the same checkpoints, on the same items.

Madaan et al. 2024, "Quantifying Variance in Evaluation Benchmarks". mu_t and sigma_t are mean and standard deviation
(n - 1) over runs; monotonicity is Kendall's tau-b of scores and checkpoints, mean over runs; signal to noise is
mu / sigma at the last checkpoint. Beyond the paper: (mu - chance) / sigma, since mu / sigma flatters a score that
stands at chance; intervals for sigma and both ratios; and the difference that 5 % of pairs of runs pass, where sigma
itself is known from a few runs only. The paper's 2 sqrt(2) sigma stands beside it as the number it is.

A share of n items moves in steps of h = 1 / n, and few runs of little spread are often all equal. A spread S seen
between M such scores may stand for any that rounds to it: S - r to S + r with r = h sqrt((M + 1) / (12 M)), how far a
point can be from the nearest of the lattice that whole numbers make once their mean is taken off (A*_{M-1}; Conway and
Sloane, Sphere Packings, Lattices and Groups, chapter 4). Intervals reach from the ends of that; a score that is no
share of items has h = 0.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from math import copysign, inf, isfinite, sqrt
from typing import Any

import numpy as np
from scipy.special import nctdtrinc
from scipy.stats import chi2, kendalltau, t

from eval_hooks.estimate import Estimate, missing
from eval_hooks.results.metrics import of_items

BOUNDED = ("share", "probability")
"""Units of what lies between 0 and 1, so that no two differ by more than 1, and no spread is above 1/2."""
FEWEST_CHECKPOINTS = 3
"""For a rank correlation."""


@dataclass(frozen=True, kw_only=True)
class Monotonicity:
    """How steadily a score gets better: Kendall's tau-b of score and checkpoint, -1 to 1."""

    value: float | None
    """Mean over runs."""
    least: float | None = None
    """Of the runs seen; no bound of what another run would have."""
    most: float | None = None
    runs: int = 0
    reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class Spread:
    """What the seeds of some runs do to one metric of one task."""

    task: str
    metric: str
    unit: str
    """As in the table of metrics; of a share or a probability nothing is above 1."""
    better: str
    """up or down."""
    n: int
    """Items."""
    steps: tuple[int, ...]
    scores: tuple[tuple[float, ...], ...]
    """A row a run, a column a checkpoint."""
    chance: float | None
    """The score of guessing, where it is known."""
    mu: float
    """Mean over runs at the last checkpoint."""
    sigma: Estimate
    """Standard deviation over runs at the last checkpoint."""
    sigma_mean: float | None
    """The same averaged over the checkpoints at which the runs differ at all."""
    half_width: float
    """Of one run's 95 % interval over items at the last checkpoint, mean over runs."""
    monotonicity: Monotonicity
    """1: every checkpoint is better than the one before."""
    snr: Estimate
    snr_above_chance: Estimate
    smallest: float | None
    """Two more runs that differ in their seeds alone differ by more than this in 5 % of cases; None where these runs
    do not differ in any item."""
    two_root_two_sigma: float
    """The paper's 2 sqrt(2) sigma: two standard deviations of a difference if sigma were known. Two more runs pass it
    in 18 % of cases after 3 runs, in 30 % after 2."""

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def spread(
    *,
    task: str,
    metric: str,
    better: str,
    steps: Sequence[int],
    scores: np.ndarray,  # (runs, checkpoints)
    half_widths: Sequence[float],
    n: int,
    chance: float | None = None,
    grain: float = 0.0,
    unit: str | None = None,
) -> Spread:
    """All of it from scores (M, T) and the half-widths (M,) of the runs' own intervals at the last checkpoint.

    `grain` is the step in which the scores move: 1 / n for a share of n items, 0 for a continuous score. `unit` is that
    of the metric, unless the items' score has another.

    Raises ValueError for fewer than two runs.
    """
    runs = len(scores)
    if runs < 2:
        raise ValueError(f"a spread needs two runs, got {runs}")
    sigmas = (scores - scores[0]).std(axis=0, ddof=1)  # of equal scores exactly 0, which a rounded mean would hide
    unit = unit or of_items(metric, "up").unit
    mu, sigma = float(scores[:, -1].mean()), sigma_estimate(float(sigmas[-1]), runs, grain)
    smallest = smallest_difference(float(sigmas[-1]), runs, grain) or None
    if unit in BOUNDED:
        smallest = min(1.0, smallest) if smallest else None
        sigma = replace(sigma, high=max(sigma.value or 0.0, min(0.5, sigma.high))) if sigma.high is not None else sigma
    apart = sigmas[sigmas > 0]
    signal = None if chance is None else (mu - chance if better == "up" else chance - mu)
    return Spread(
        task=task,
        metric=metric,
        unit=unit,
        better=better,
        n=n,
        steps=tuple(steps),
        scores=tuple(tuple(map(float, row)) for row in scores),
        chance=chance,
        mu=mu,
        sigma=sigma,
        sigma_mean=float(apart.mean()) if len(apart) else None,
        half_width=float(np.mean(half_widths)),
        monotonicity=monotonicity(scores if better == "up" else -scores),
        snr=signal_to_noise(abs(mu), sigma, grain),
        snr_above_chance=(
            missing("chance is not known", runs) if signal is None else signal_to_noise(signal, sigma, grain)
        ),
        smallest=smallest,
        two_root_two_sigma=2 * sqrt(2) * float(sigmas[-1]),
    )


def rounding(runs: int, grain: float) -> float:
    """r, how far a spread of scores in steps of `grain` may be from the one it stands for."""
    return grain * sqrt((runs + 1) / (12 * runs))


def sigma_estimate(sigma: float, runs: int, grain: float = 0.0) -> Estimate:
    """Sigma with its interval for normal scores: (sigma -+ r) sqrt((M - 1) / chi2), M - 1 degrees of freedom.

    Without a grain a spread of 0 has none: no item was scored otherwise.
    """
    if sigma == grain == 0:
        return Estimate(value=0.0, n=runs, reason="the runs do not differ in any item")
    r = rounding(runs, grain)
    low, high = (
        seen * sqrt((runs - 1) / float(chi2.ppf(p, runs - 1)))
        for seen, p in ((max(0.0, sigma - r), 0.975), (sigma + r, 0.025))
    )
    steps = ", scores in steps of an item" if grain else ""
    return Estimate(value=sigma, low=low, high=high, n=runs, method=f"chi-square, normal scores{steps}")


def kendall(scores: np.ndarray) -> float:
    """Tau-b between scores (T,) and their order; NaN where the scores are all equal, or fewer than 3."""
    return float(kendalltau(scores, np.arange(len(scores))).statistic) if len(scores) >= FEWEST_CHECKPOINTS else np.nan


def monotonicity(scores: np.ndarray) -> Monotonicity:
    """Mean tau-b over runs (M, T), and the least and the most of a run; missing where a run has none."""
    taus, checkpoints = np.array([kendall(row) for row in scores]), scores.shape[1]
    if checkpoints < FEWEST_CHECKPOINTS:
        said = f"a rank correlation needs {FEWEST_CHECKPOINTS} checkpoints, there are {checkpoints}"
    elif np.isnan(taus).any():
        said = f"{int(np.isnan(taus).sum())} of {len(taus)} runs have the same score at every checkpoint"
    else:
        mean, least, most = float(taus.mean()), float(taus.min()), float(taus.max())
        return Monotonicity(value=mean, least=least, most=most, runs=len(taus))
    return Monotonicity(value=None, runs=len(taus), reason=said)


def signal_to_noise(signal: float, sigma: Estimate, grain: float = 0.0) -> Estimate:
    """Signal / sigma with its interval; missing where the runs do not differ.

    For normal scores sqrt(M) signal / sigma is noncentral t with M - 1 degrees of freedom around sqrt(M) times the true
    ratio, so that the mean's error counts as well as sigma's. An end is None where the spread may be none at all.
    """
    if not sigma.value:
        return missing("the runs do not differ", sigma.n)
    runs, r = sigma.n, rounding(sigma.n, grain)
    ratios = [signal / seen if seen > 0 else copysign(inf, signal) for seen in (sigma.value + r, sigma.value - r)]
    low, high = (
        float(nctdtrinc(runs - 1, p, sqrt(runs) * at)) / sqrt(runs) if isfinite(at) else None
        for p, at in zip((0.975, 0.025), sorted(ratios), strict=True)
    )
    return Estimate(value=signal / sigma.value, low=low, high=high, n=runs, method="noncentral t, normal scores")


def smallest_difference(sigma: float, runs: int, grain: float = 0.0) -> float:
    """T sqrt(2) sqrt(sigma^2 + h^2 / 12), t the 97.5 % point with M - 1 degrees of freedom; at least h, one item.

    Two more runs that differ in their seeds alone differ by more in 5 % of cases, whatever M, where scores are normal.
    h^2 / 12 is the variance of rounding to steps of h: runs that are all equal may have been rounded to it.
    """
    return max(grain, float(t.ppf(0.975, runs - 1)) * sqrt(2) * sqrt(sigma**2 + grain**2 / 12))
