"""Made tables of options: confidences and right answers before and after, from laws whose calibration is known.

An item has four options; the chosen one holds the confidence, the others share the rest. It is right with a probability
that the law knows, so the error of calibration is known too. Nothing here knows the code that is judged.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

LEAST, MOST = 0.26, 0.995
"""Confidences of the best of four options."""
LUCK = 0.8
"""Share of items whose luck is the same before and after, where it is not fresh."""

Side = tuple[np.ndarray, np.ndarray]
"""Confidence, and probability of being right, of each item, (n,) each."""
Draw = Callable[[np.random.Generator, int], tuple[Side, Side]]


@dataclass(frozen=True, kw_only=True)
class Law:
    """How confidences and right answers come about, before and after."""

    name: str
    draw: Draw
    fresh: bool = False
    """Whether an item's luck is drawn anew after; else most items keep theirs, and few flip."""

    @property
    def rise(self) -> float:
        """The true rise of two-bin ECE, parted at the base's median, from 300,000 items."""
        (c, p), (c2, p2) = self.draw(np.random.default_rng(0), 300_000)
        edge = np.median(c)
        return sum(
            sign * abs(float(((conf - right) * inside).mean()))
            for sign, conf, right in ((-1, c, p), (1, c2, p2))
            for inside in (conf > edge, conf <= edge)
        )


def beta(rng: np.random.Generator, n: int, mean: float, weight: float = 6.0) -> np.ndarray:
    """Confidences of a Beta law."""
    return np.clip(rng.beta(mean * weight, (1 - mean) * weight, n), LEAST, MOST)


def near(rng: np.random.Generator, conf: np.ndarray) -> np.ndarray:
    """The same confidences, moved a little: logits by .3."""
    return np.clip(1 / (1 + (1 / conf - 1) * np.exp(-0.3 * rng.normal(size=len(conf)))), LEAST, MOST)


def calibrated(first: float, then: float | None = None) -> Draw:
    """Both right as often as they are sure; mean confidence `first`, then `then` (None: moved a little)."""
    return over(0.0, 0.0, first, then)


def over(before: float, after: float, first: float = 0.76, then: float | None = None) -> Draw:
    """Surer than right by so much, everywhere; mean confidences as `calibrated`."""

    def draw(rng: np.random.Generator, n: int) -> tuple[Side, Side]:
        c = beta(rng, n, first)
        c2 = near(rng, c) if then is None else beta(rng, n, then)
        return (c, c - before), (c2, c2 - after)

    return draw


def halves(before: tuple[float, float], after: tuple[float, float]) -> Draw:
    """Surer than right by so much in the lower and in the upper half of the confidences, which stay as they are."""

    def draw(rng: np.random.Generator, n: int) -> tuple[Side, Side]:
        c = np.clip(beta(rng, n, 0.70), LEAST, 0.93)
        middle = 0.7232  # the median of that law
        sides = [(c, c - np.where(c > middle, upper, lower)) for lower, upper in (before, after)]
        return sides[0], sides[1]

    return draw


def sharpened(power: float) -> Draw:
    """A calibrated base whose probabilities are raised to a power (temperature 1 / power); answers stay as they are."""

    def draw(rng: np.random.Generator, n: int) -> tuple[Side, Side]:
        c = beta(rng, n, 0.76)
        rest = (1 - c) / 3
        hot = c**power / (c**power + 3 * rest**power)
        return (c, c), (np.clip(hot, LEAST, MOST), c)

    return draw


def pair(law: Law, n: int, rng: np.random.Generator) -> tuple[pa.Table, pa.Table]:
    """A table before and one after, of the same items."""
    (c, p), (c2, p2) = law.draw(rng, n)
    luck = rng.uniform(size=n)
    again = luck if not law.fresh else rng.uniform(size=n)
    again = np.where(rng.uniform(size=n) < LUCK, again, rng.uniform(size=n))
    gold = rng.integers(0, 4, n)
    return table(c, luck < p, gold), table(c2, again < p2, gold)


def table(conf: np.ndarray, right: np.ndarray, gold: np.ndarray) -> pa.Table:
    """What of a table of options has to do with calibration."""
    n = len(conf)
    chosen = np.where(right, gold, (gold + 1) % 4)
    logp = np.repeat(np.log((1 - conf) / 3)[:, None], 4, axis=1)
    logp[np.arange(n), chosen] = np.log(conf)
    each_four = np.arange(0, 4 * n + 1, 4, dtype=np.int32)
    return pa.table(
        {
            "gold": gold.astype(np.int32), "pred": chosen.astype(np.int32),
            "correct": right, "conf": conf, "logp": pa.ListArray.from_arrays(each_four, logp.ravel()),
            "chars": pa.ListArray.from_arrays(each_four, np.ones(4 * n, dtype=np.int32)),
            "variant": pa.repeat("lm_eval", n), "letter_mass": np.ones(n),
        }
    )  # fmt: skip
