"""Whether miscalibration rose: two-bin ECE after minus before, with an interval that a word and a budget may act on.

Items are parted at the base's median confidence, each model's by its own confidence. With c the confidence, y right or
wrong, and bins m = 1, 2:

    a_m = mean (c - y) 1[c in m] after,  b_m the same before,  rise = |a_1| + |a_2| - |b_1| - |b_2|

which is the change of ECE (Naeini et al. 2015) with two bins in place of 15. No noise passes for error. |b| is the
largest of t b over signs t, so s a - |b| is at most the rise for any signs s, and

    low = max_s min_t ( s a - t b - z se(s a - t b) ),    high = the same of the change back, its sign turned

where each s a - t b is a paired mean over the items. All t must agree (intersection-union test: Berger 1982,
Technometrics 24:295), so their number does not raise z. Of s, two are right at once where an a_m is 0; all four only
where both are, and then nothing rose. So z is the quantile of half the chance of a wrong word to one side. The suite's
own method; its rates by simulation: eval_hooks/README.md.

What it costs: few items don't tell the signs of a base that is nearly calibrated, and a rise has to outgrow that doubt.
What it does not see: errors that cancel inside a half. Over-confidence above the median with under-confidence below it
is seen.

Where few items flip a normal interval is too short: what the interval of counts (`retention.interval`) is longer by is
added to each squared half-width.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import pyarrow as pa
from scipy.stats import norm

from eval_hooks.copies import clusters_of, worth
from eval_hooks.estimate import Estimate, missing
from eval_hooks.retention.interval import change_interval
from eval_hooks.table import column

BINS = 2
TIES = 2
"""Signs s that can be right at once where the rise is above 0, or is 0 of a model that is not calibrated."""
FEWEST = 10
"""Items under which a mean is not taken for normal; in waves, items of each stratum."""
METHOD = "change of two-bin ECE, parted at the base's median confidence; paired means over all signs"
SIGNS = np.array(list(product((1.0, -1.0), repeat=BINS)))
"""(S, bins)."""


@dataclass(frozen=True, kw_only=True)
class Gaps:
    """Mean over items of (confidence - right) in each bin, after and then before, (2 bins,), and how sure it is."""

    mean: np.ndarray
    cov: np.ndarray
    """Of the mean, (2 bins, 2 bins)."""
    surplus: float = 0.0
    """What is added to each squared half-width."""

    @property
    def rise(self) -> float:
        """Two-bin ECE after minus before."""
        return float(np.abs(self.mean[:BINS]).sum() - np.abs(self.mean[BINS:]).sum())

    def least(self, z: float) -> float:
        """Lower end of the rise."""
        return _least(self.mean, self.cov, z, self.surplus)

    def most(self, z: float) -> float:
        """Upper end of the rise."""
        back = np.roll(np.arange(2 * BINS), BINS)
        return -_least(self.mean[back], self.cov[np.ix_(back, back)], z, self.surplus)


def _least(mean: np.ndarray, cov: np.ndarray, z: float, surplus: float) -> float:
    grown, taken = (each.reshape(-1, BINS) for each in np.broadcast_arrays(SIGNS[:, None], SIGNS))
    signs = np.concatenate([grown, -taken], axis=1)  # (S * S, 2 bins)
    variance = np.maximum(np.einsum("ij,jk,ik->i", signs, cov, signs), 0.0)
    low = signs @ mean - np.sqrt(z * z * variance + surplus)
    return float(low.reshape(len(SIGNS), len(SIGNS)).min(axis=1).max())


def ece_rise(before: pa.Table, after: pa.Table, alpha: float = 0.05) -> Estimate:
    """The rise with its interval at level 1 - alpha, over the same items before and after; all there is at alpha 0.

    Copies of an item are one: the items count as many as they are worth (`copies`).
    """
    edge, n = edge_of(before), before.num_rows
    if n < FEWEST:
        return missing(f"{n} items are too few for a change of calibration: {FEWEST} are needed", n)
    of = worth(n, clusters_of(after))
    each = np.concatenate([gaps(after, edge), gaps(before, edge)], axis=1)
    right, now = (column(table, "correct").astype(bool) for table in (before, after))
    z = float(norm.isf(alpha / TIES / 2))
    lost, gained = (int(flips.sum()) * of / n for flips in (right & ~now, ~right & now))
    found = Gaps(
        mean=each.mean(axis=0),
        cov=np.cov(each, rowvar=False) / of,
        surplus=surplus(lost, gained, of, z) if alpha else 0.0,
    )
    if not alpha:
        return Estimate(value=found.rise, low=-1.0, high=1.0, n=n, method="nothing may be claimed any more")
    return Estimate(value=found.rise, low=found.least(z), high=found.most(z), n=n, method=METHOD)


def edge_of(before: pa.Table) -> float:
    """The base's median confidence: one edge for all checkpoints of a run."""
    return float(np.median(column(before, "conf")))


def gaps(table: pa.Table, edge: float) -> np.ndarray:
    """(confidence - right) of each item in the column of its bin, (n, bins); on the edge is below it."""
    conf = column(table, "conf")
    gap, upper = conf - column(table, "correct").astype(float), conf > edge
    return np.stack([np.where(upper, 0.0, gap), np.where(upper, gap, 0.0)], axis=1)


def surplus(lost: float, gained: float, n: float, z: float) -> float:
    """How much longer the interval of a paired change of accuracy is than the normal one, in squared half-widths."""
    change = (gained - lost) / n
    low, high = change_interval(lost, gained, n, level=1 - 2 * float(norm.sf(z)))
    half = max(change - float(low), float(high) - change)
    return max(0.0, half**2 - z * z * ((lost + gained) / n - change**2) / n)


def two_phase(first: np.ndarray, pairs: Sequence[np.ndarray], flips: Sequence[int], sizes: np.ndarray) -> Gaps:
    """The same of all N items before, (N, bins), and those scored after: each stratum's after and before (n_h, 2 bins).

    a = mean of all before + sum_h W_h mean_h(d), d after minus before. A word is about calibration on items like these,
    of which the N are a sample and those scored a second one (double sampling: Cochran, Sampling Techniques, section
    12.2). For x = s after - t before:

        var = S^2(x) / N + sum_h W_h^2 (1 - n_h / N_h) s_h^2(s d) / n_h

    To s_h^2(d) of each bin half of what flips might still add is given: (flips_h + 1/2) / (n_h + 1) - flips_h / n_h, as
    to the change of accuracy (`retention.strata`).
    """
    n, weight = np.array([len(part) for part in pairs]), sizes / sizes.sum()
    d = [part[:, :BINS] - part[:, BINS:] for part in pairs]
    base = first.mean(axis=0)
    moved = sum(w * part.mean(axis=0) for w, part in zip(weight, d, strict=True))
    each = np.concatenate(pairs)
    cov = np.cov(each, rowvar=False, aweights=np.repeat(weight / n, n)) / len(first)
    for w, part, scored, size, flipped in zip(weight, d, n, sizes, flips, strict=True):
        more = max(0.0, (flipped + 0.5) / (scored + 1) - flipped / scored)
        within = np.cov(part, rowvar=False) + more / BINS * np.eye(BINS)
        cov[:BINS, :BINS] += w * w * (1 - scored / size) * within / scored
    return Gaps(mean=np.concatenate([base + moved, base]), cov=cov)
