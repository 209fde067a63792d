"""Made tables: the same items before and after, from laws that are known. Nothing here knows the code that is judged."""

from dataclasses import dataclass

import numpy as np
from scipy.stats import binom, norm


@dataclass(frozen=True, kw_only=True)
class Law:
    """Each of n items is lost, gained or left alone by chance, all with the same chances."""

    n: int
    lost: float
    gained: float

    @property
    def change(self) -> float:
        """The true change of accuracy."""
        return self.gained - self.lost


def flipping(n: int, flips: float, change: float) -> Law:
    """Of which a share `flips` flips and whose accuracy changes by `change`; |change| is at most `flips`."""
    return Law(n=n, lost=(flips - change) / 2, gained=(flips + change) / 2)


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Every pair of counts that a law gives, (K,) each, and how often."""

    lost: np.ndarray
    gained: np.ndarray
    p: np.ndarray


def all_counts(law: Law, tail: float = 1e-7) -> Counts:
    """The pairs of a law, so that a rate is a sum and has no noise; those left out come up less often than 4 tails."""
    lost = np.arange(binom.ppf(tail, law.n, law.lost), binom.ppf(1 - tail, law.n, law.lost) + 1)
    gained = np.arange(binom.ppf(tail, law.n, law.gained), binom.ppf(1 - tail, law.n, law.gained) + 1)
    lost, gained = (one.ravel() for one in np.meshgrid(lost, gained, indexing="ij"))
    p = binom.pmf(lost, law.n, law.lost) * binom.pmf(gained, law.n - lost, law.gained / (1 - law.lost))
    there = (lost + gained <= law.n) & (p > tail / len(p))
    return Counts(lost=lost[there], gained=gained[there], p=p[there])


def table(law: Law, rng: np.random.Generator, right: float = 0.6) -> tuple[np.ndarray, np.ndarray]:
    """Right or wrong, before and after, (n,) each: a law's flips, the items left alone right with chance `right`."""
    kind = rng.choice(3, p=[law.lost, law.gained, 1 - law.lost - law.gained], size=law.n)
    alone = rng.uniform(size=law.n) < right
    return np.where(kind == 2, alone, kind == 0), np.where(kind == 2, alone, kind == 1)


@dataclass(frozen=True, kw_only=True)
class Recipes:
    """Two recipes, each run from several seeds, on n drawn items.

    An answer is right where ease, recipe, seed and chance, each normal, add up to more than 0. Shares and spreads of
    accuracy are met about, `change` exactly.
    """

    n: int
    runs: tuple[int, int]
    """Of A, of B."""
    seeds: tuple[float, float]
    """Standard deviation of accuracy that a seed brings to all items of its run alike: A's, B's."""
    flips: float
    """Share of items that two runs of a recipe answer otherwise though their seeds' shifts are equal."""
    apart: float
    """Share of items on which the two recipes differ by themselves."""
    change: float = 0.0
    """Accuracy of A less that of B, over all items and seeds."""


SKILL = 0.25
"""A's mean over items and seeds before chance, in standard deviations of the items' ease: about 60 % are right."""


def recipe_tables(law: Recipes, rng: np.random.Generator, times: int) -> tuple[np.ndarray, np.ndarray]:
    """Right or wrong in A's runs and in B's, (times, runs, n) each.

    Two standard normals of correlation r differ in sign in arccos(r) / pi of cases; Phi(m / s) are right where the sum
    has mean m and standard deviation s.
    """
    chance, own = (np.sqrt(1 / np.cos(np.pi * share) - 1) for share in (law.flips, law.apart))
    ease, slope = rng.standard_normal((times, 1, law.n), dtype=np.float32), norm.pdf(SKILL)
    spreads = [np.sqrt(1 + own**2 / 2 + chance**2 + (sd / slope) ** 2) for sd in law.seeds]
    right = norm.cdf(SKILL / spreads[0])
    skills = (SKILL, spreads[1] * norm.ppf(right - law.change))
    sides = []
    for skill, sd, runs in zip(skills, law.seeds, law.runs, strict=True):
        seed = rng.standard_normal((times, runs, 1), dtype=np.float32) * np.float32(sd / slope)
        of_item = rng.standard_normal((times, 1, law.n), dtype=np.float32) * np.float32(own / np.sqrt(2))
        score = ease + of_item + seed + np.float32(skill)
        if chance:
            score = score + np.float32(chance) * rng.standard_normal(score.shape, dtype=np.float32)
        sides.append(score > 0)
    return sides[0], sides[1]


def run_scores(kind: str, size: float, rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Right answers of runs of one recipe on the same items, less their mean or so: whole numbers, in `shape`.

    `rounded` is a normal number of standard deviation `size`, rounded; `edge` the same around a half; `flips` as many
    items more as fewer by chance, `size` of each to be expected.
    """
    if kind == "flips":
        return (rng.poisson(size, shape) - rng.poisson(size, shape)).astype(float)
    return np.round(size * rng.standard_normal(shape) + (0.5 if kind == "edge" else 0.0))
