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
class Subjects:
    """Subjects of so many items each, whose own changes are drawn around a mean change with an sd.

    `flips` is the least share of items that flips: what a subject's change leaves over of it flips both ways alike. With
    `skewed` all flips are losses and the subjects' changes follow a beta distribution, far from a normal one.
    """

    sizes: tuple[int, ...]
    change: float
    sd: float
    flips: float = 0.0
    skewed: bool = False


def subject_counts(law: Subjects, draws: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Items lost and gained in each subject, (draws, G) each; the mean change over subjects is the law's."""
    shape, sizes = (draws, len(law.sizes)), np.array(law.sizes)
    if law.sd == 0:
        change = np.full(shape, law.change)
    elif law.skewed:
        weight = -law.change * (1 + law.change) / law.sd**2 - 1
        change = -rng.beta(-law.change * weight, (1 + law.change) * weight, shape)
    else:
        change = law.change + law.sd * rng.normal(size=shape)
    both = max(0.0, law.flips - abs(law.change)) / 2
    lost, gained = both + np.maximum(-change, 0), both + np.maximum(change, 0)
    assert (lost + gained).max() <= 1, "more flips than items"
    down = rng.binomial(sizes, lost)
    return down, rng.binomial(sizes - down, gained / (1 - lost))


def copied_counts(law: Law, copies: int, share: float, draws: int, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """What flips in tables of a law in which a share of the items are copies of others.

    So many of the n items come in clusters of `copies` that a share of them is not the first of its cluster; all of a
    cluster flip together. Returned: items lost, items gained, clusters lost,
    clusters gained, (draws,) each, and the sizes of the clusters.
    """
    clusters = round(share * law.n / (copies - 1))
    sizes = np.repeat([copies, 1], [clusters, law.n - copies * clusters])
    chances = [law.lost, law.gained, 1 - law.lost - law.gained]
    twice, once = (rng.multinomial(int((sizes == size).sum()), chances, draws) for size in (copies, 1))
    return (
        copies * twice[:, 0] + once[:, 0], copies * twice[:, 1] + once[:, 1], twice[:, 0] + once[:, 0],
        twice[:, 1] + once[:, 1], sizes,
    )  # fmt: skip


FLIPS_BY_TENTH = {
    (0.05, "low margins"): (0.33, 0.11, 0.04, 0.02),
    (0.20, "low margins"): (0.60, 0.50, 0.35, 0.25, 0.15, 0.10, 0.05),
}
"""Share of items that flips in each tenth by margin, the smallest first; none in the rest."""
WHERE = ("low margins", "all margins", "high margins")


@dataclass(frozen=True, kw_only=True)
class Bank:
    """All items of a task, (n,) each: whoever knows them all knows the change."""

    margin: np.ndarray
    """How far the right answer is ahead of the best other one before; below 0 where it is not."""
    change: np.ndarray
    """-1 lost, 1 gained, 0 left alone."""


def bank(n: int, flips: float, where: str, change: float, rng: np.random.Generator) -> Bank:
    """Of which a share `flips` flips, at margins as `where` says, and whose accuracy changes by `change` to the item."""
    tenths = [len(part) for part in np.array_split(np.arange(n), 10)]
    rates = np.full(10, flips)
    if where != "all margins":
        low = FLIPS_BY_TENTH[flips, "low margins"]
        rates = np.array([*low, *[0.0] * (10 - len(low))])[:: 1 if where == "low margins" else -1]
    both, net = round(n * flips), round(n * change)
    lost, gained = (_apportioned(total, rates * tenths) for total in ((both - net) // 2, both - (both - net) // 2))
    kinds = [[-1] * b + [1] * c + [0] * (m - b - c) for m, b, c in zip(tenths, lost, gained, strict=True)]
    changed = np.concatenate([rng.permutation(kind) for kind in kinds])
    right = np.where(changed == 0, rng.uniform(size=n) < 0.6, changed < 0)
    return Bank(margin=np.sort(rng.exponential(size=n)) * np.where(right, 1, -1), change=changed.astype(float))


def _apportioned(total: int, weights: np.ndarray) -> np.ndarray:
    """Whole numbers that add up to the total, in proportion of the weights; what is over goes to the largest rests."""
    exact = total * weights / weights.sum()
    found = np.floor(exact).astype(int)
    found[np.argsort(found - exact, kind="stable")[: total - found.sum()]] += 1
    return found


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
