"""Made tables: the same items before and after, from laws that are known. Nothing here knows the code that is judged."""

from dataclasses import dataclass

import numpy as np
from scipy.stats import binom


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
class Guessing:
    """Each of n items of k options is known or guessed evenly, before and after, by chance; lost, gained, both wrong.

    Where what is known before and after is independent, `forgotten` of the items were known, are not any more, and are
    guessed wrong; that is what a count of lost items holds beyond guessing.
    """

    n: int
    options: int
    known_before: float
    known_after: float

    @property
    def cells(self) -> tuple[float, float, float]:
        """Chances of an item to be lost, gained, wrong in both."""
        right = [known + (1 - known) / self.options for known in (self.known_before, self.known_after)]
        return right[0] * (1 - right[1]), (1 - right[0]) * right[1], (1 - right[0]) * (1 - right[1])

    @property
    def forgotten(self) -> float:
        """Known before, not after, and guessed wrong."""
        return self.known_before * (1 - self.known_after) * (1 - 1 / self.options)

    def drawn(self, times: int, seed: int) -> np.ndarray:
        """Counts of lost, gained, both wrong and both right of so many tables, (times, 4)."""
        return np.random.default_rng(seed).multinomial(self.n, [*self.cells, 1 - sum(self.cells)], size=times)


@dataclass(frozen=True, kw_only=True)
class Keeping:
    """Items of k options that keep what they were, but for shares that are lost and gained: a light training."""

    n: int
    options: int
    right: float
    lost: float
    gained: float

    @property
    def cells(self) -> tuple[float, float, float]:
        """Chances of an item to be lost, gained, wrong in both."""
        return self.lost, self.gained, 1 - self.right - self.gained

    @property
    def forgotten(self) -> float:
        """Lost beyond what accuracies say of guessing; often 0, since nothing is guessed anew."""
        wrong_after = 1 - self.right + self.lost - self.gained
        return max(0.0, self.lost - (1 - self.right) * wrong_after / (self.options - 1))

    def drawn(self, times: int, seed: int) -> np.ndarray:
        """Counts of lost, gained, both wrong and both right of so many tables, (times, 4)."""
        return np.random.default_rng(seed).multinomial(self.n, [*self.cells, 1 - sum(self.cells)], size=times)
