"""Spread over seeds of one score: runs that differ in their seed alone, at the same checkpoints, on the same items.

Madaan et al. 2024, "Quantifying Variance in Evaluation Benchmarks". mu_t and sigma_t are mean and standard deviation
(n - 1) over runs; monotonicity is Kendall's tau-b of scores and checkpoints, mean over runs; signal to noise is
mu / sigma at the last checkpoint. Beyond the paper: (mu - chance) / sigma, since mu / sigma flatters a score that
stands at chance; an interval for sigma; and the smallest difference for few seeds, where sigma itself is uncertain.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import sqrt
from typing import Any

import numpy as np
from scipy.stats import chi2, kendalltau, t

from eval_hooks.estimate import Estimate, missing

FEWEST_CHECKPOINTS = 3
"""For a rank correlation."""


@dataclass(frozen=True, kw_only=True)
class Spread:
    """What the seeds of some runs do to one metric of one task."""

    task: str
    metric: str
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
    monotonicity: Estimate
    """1: every checkpoint is better than the one before."""
    snr: Estimate
    snr_above_chance: Estimate
    smallest: float | None
    """Smallest difference between two runs worth believing: 2 sqrt(2) sigma; None where no spread was seen."""
    smallest_few: float | None
    """The same at 95 % for so few runs."""

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
) -> Spread:
    """All of it from scores (M, T) and the half-widths (M,) of the runs' own intervals at the last checkpoint.

    Raises ValueError for fewer than two runs.
    """
    runs = len(scores)
    if runs < 2:
        raise ValueError(f"a spread needs two runs, got {runs}")
    sigmas = scores.std(axis=0, ddof=1)
    mu, sigma = float(scores[:, -1].mean()), sigma_estimate(float(sigmas[-1]), runs)
    apart = sigmas[sigmas > 0]
    above = None if chance is None else (mu - chance if better == "up" else chance - mu)
    return Spread(
        task=task,
        metric=metric,
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
        snr=signal_to_noise(abs(mu), sigma),
        snr_above_chance=signal_to_noise(above, sigma) if above is not None else missing("chance is not known", runs),
        smallest=smallest_difference(float(sigmas[-1])) or None,
        smallest_few=smallest_difference_of_few(float(sigmas[-1]), runs) or None,
    )


def sigma_estimate(sigma: float, runs: int) -> Estimate:
    """Sigma with its interval for normal scores: sigma sqrt((M - 1) / chi2), M - 1 degrees of freedom.

    A spread of 0 has none.
    """
    if sigma == 0:
        return Estimate(value=0.0, n=runs, reason="the runs do not differ")
    low, high = (sigma * sqrt((runs - 1) / chi2.ppf(p, runs - 1)) for p in (0.975, 0.025))
    return Estimate(value=sigma, low=float(low), high=float(high), n=runs, method="chi-square, normal scores")


def kendall(scores: np.ndarray) -> float:
    """Tau-b between scores (T,) and their order; NaN where the scores are all equal, or fewer than 3."""
    return float(kendalltau(scores, np.arange(len(scores))).statistic) if len(scores) >= FEWEST_CHECKPOINTS else np.nan


def monotonicity(scores: np.ndarray) -> Estimate:
    """Mean tau-b over runs (M, T), and the least and the most of a run; missing where a run has none."""
    taus = np.array([kendall(row) for row in scores])
    if scores.shape[1] < FEWEST_CHECKPOINTS:
        return missing(f"a rank correlation needs {FEWEST_CHECKPOINTS} checkpoints, there are {scores.shape[1]}")
    if np.isnan(taus).any():
        return missing(f"{int(np.isnan(taus).sum())} of {len(taus)} runs have the same score at every checkpoint")
    return Estimate(
        value=float(taus.mean()), low=float(taus.min()), high=float(taus.max()), n=len(taus),
        method="mean over runs; from the least to the most of a run",
    )  # fmt: skip


def signal_to_noise(signal: float, sigma: Estimate) -> Estimate:
    """Signal / sigma, its interval from sigma's; missing where the runs do not differ."""
    if not sigma.value or not sigma.low or not sigma.high:
        return missing("the runs do not differ", sigma.n)
    ends = sorted((signal / sigma.high, signal / sigma.low))
    return Estimate(value=signal / sigma.value, low=ends[0], high=ends[1], n=sigma.n, method="from sigma's interval")


def smallest_difference(sigma: float) -> float:
    """2 sqrt(2) sigma: two standard deviations of a difference of two runs, sigma taken as known."""
    return 2 * sqrt(2) * sigma


def smallest_difference_of_few(sigma: float, runs: int) -> float:
    """T sqrt(2) sigma, t the 97.5 % point with M - 1 degrees of freedom.

    Two more runs that differ in their seed alone differ by more in 5 % of cases, whatever M, where scores are normal.
    """
    return float(t.ppf(0.975, runs - 1)) * sqrt(2) * sigma
