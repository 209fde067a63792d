"""Calibration numbers of many resamples at once, from how often each item was drawn.

A resample of n items is n counts. Numbers over equal-width bins need each bin's sums, one matrix product for all
resamples; ranking numbers and equal-mass bins need counts cumulated over items in order of confidence, sorted once.
What each number is stands in `ece` and `ranking`, as a function of one sample; these agree with those to rounding
(tested). Tied items parted by an edge of an equal-mass bin are taken in the items' order, not in that of drawing.
"""

from dataclasses import dataclass

import numpy as np

from eval_hooks.calibration.ece import BINS, debiased, largest_gap, mass_bins, root_mean_square, width_bins
from eval_hooks.calibration.ranking import COVERAGES, RISK


def spread(bin_of: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Each item's weight in the column of its bin, (n, bins): counts @ these are the bins' sums."""
    out = np.zeros((len(bin_of), BINS))
    out[np.arange(len(bin_of)), bin_of] = weight
    return out


class Binned:
    """Numbers over equal-width bins, of confidences (n,), 0/1 correctness (n,), probabilities (n, K), golds (n,)."""

    def __init__(self, conf: np.ndarray, correct: np.ndarray, p: np.ndarray, gold: np.ndarray) -> None:
        top = [spread(width_bins(conf), weight) for weight in (np.ones(len(conf)), correct - conf, correct)]
        each = [spread(width_bins(p[:, k]), (gold == k) - p[:, k]) for k in range(p.shape[1])]
        self._columns = np.concatenate([*top, *each], axis=1)

    def numbers(self, drawn: np.ndarray, fewest: int) -> dict[str, np.ndarray]:
        """Of each resample: counts (R, n) -> (R,). A bin's gap may be the largest from `fewest` items on."""
        found = (drawn @ self._columns).reshape(len(drawn), -1, BINS)
        counts, sums, right = found[:, 0], found[:, 1], found[:, 2]
        return {
            "ece": np.abs(sums).sum(1) / drawn.shape[1],
            "ece_debiased": debiased(counts, sums, right),
            "mce": largest_gap(counts, sums, fewest),
            "classwise_ece": np.abs(found[:, 3:]).sum(2).mean(1) / drawn.shape[1],
        }


class Sorted:
    """Numbers over items from the most confident one on, of confidences (n,) and 0/1 correctness (n,)."""

    def __init__(self, conf: np.ndarray, correct: np.ndarray) -> None:
        self._order = np.argsort(conf, kind="stable")[::-1]
        self._gap, self._wrong = (correct - conf)[self._order], 1.0 - correct[self._order]
        self._ties = np.flatnonzero(np.diff(conf[self._order], prepend=np.inf))  # where each confidence begins
        self._mass = np.bincount(mass_bins(conf))[::-1]  # no empty ones

    def numbers(self, drawn: np.ndarray) -> dict[str, np.ndarray]:
        """Of each resample: counts (R, n) -> (R,)."""
        drawn = drawn[:, self._order]
        gaps = np.diff(Running.of(drawn, drawn * self._gap).first(self._mass.cumsum()), axis=1, prepend=0.0)
        items, wrong = (np.add.reduceat(x, self._ties, axis=1) for x in (drawn, drawn * self._wrong))
        return {
            "ece_equal_mass": np.abs(gaps).sum(1) / drawn.shape[1],
            "rms": root_mean_square(self._mass, gaps),
            **ranking(Running.of(items, wrong)),
        }


@dataclass(frozen=True, kw_only=True)
class Running:
    """Items of resamples in columns, how many and the sum of something over them, and both cumulated: each (R, C)."""

    items: np.ndarray
    sums: np.ndarray
    upto: np.ndarray
    total: np.ndarray

    @classmethod
    def of(cls, items: np.ndarray, sums: np.ndarray) -> "Running":
        """Cumulated over the columns."""
        return cls(items=items, sums=sums, upto=items.cumsum(1), total=sums.cumsum(1))

    def first(self, count: np.ndarray) -> np.ndarray:
        """Sum over the first `count` items of each resample, (P,) -> (R, P); a cut column counts by its mean."""
        n, row = self.upto[0, -1], np.arange(len(self.upto))[:, None]
        at = np.searchsorted((self.upto + n * row).ravel(), count + n * row)  # the rows made one rising sequence
        cell = (row, at - row * self.upto.shape[1])
        items, sums, upto, total = (x[cell] for x in (self.items, self.sums, self.upto, self.total))
        return total - (upto - count) * sums / items


def ranking(confident: Running) -> dict[str, np.ndarray]:
    """Numbers of `ranking`: columns are distinct confidences, highest first, sums the wrong items among them."""
    items, wrong, upto, errors = confident.items, confident.sums, confident.upto, confident.total
    n, all_wrong = int(upto[0, -1]), errors[:, -1]
    lower = (items - wrong) * (all_wrong[:, None] - errors + wrong / 2)  # pairs with a wrong item below; half the ties
    pairs = (n - all_wrong) * all_wrong
    harmonic = np.concatenate([[0.0], np.cumsum(1.0 / np.arange(1, n + 1))])
    # sum over j of (errors before + rate (j - before)) / j inside each block of ties
    before, rate = upto - items, np.divide(wrong, items, out=np.zeros_like(wrong), where=items > 0)
    steps = np.diff(harmonic[upto.astype(int)], axis=1, prepend=0.0)
    area = (wrong + (errors - wrong - rate * before) * steps).sum(1) / n
    right = n - all_wrong
    best = (all_wrong - right * (harmonic[n] - harmonic[right.astype(int)])) / n
    kept = np.maximum(1, np.round(np.array(COVERAGES) * n))
    accuracy = 1.0 - confident.first(kept) / kept
    return {
        "auroc": np.divide(lower.sum(1), pairs, out=np.full_like(pairs, np.nan), where=pairs > 0),
        "aurc": area,
        "e_aurc": area - best,
        **{f"accuracy_at_{round(100 * c)}": accuracy[:, i] for i, c in enumerate(COVERAGES)},
        f"coverage_at_risk_{round(100 * RISK)}": np.where(errors <= RISK * upto, upto, 0).max(1) / n,
    }
