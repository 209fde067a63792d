"""What was lost: the same items before and after, paired."""

from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
from scipy.stats import norm
from scipy.stats import t as student

from eval_hooks.config import Over
from eval_hooks.copies import clusters_of, worth
from eval_hooks.errors import EvalError
from eval_hooks.estimate import Estimate, missing
from eval_hooks.intervals import bootstrap, bootstrap_mean, once, ratio, wilson
from eval_hooks.results.schemas import schema_of
from eval_hooks.retention.flips import e_value, e_value_drop, log_e_value, log_e_value_drop, mcnemar_exact
from eval_hooks.retention.interval import Clusters, paired_change
from eval_hooks.retention.noise import Noise, beyond, noise_of
from eval_hooks.retention.power import Z_POWER
from eval_hooks.retention.scored import LIKE_THESE, of_run, score_retention
from eval_hooks.retention.spending import ALONE, ALPHA, Look
from eval_hooks.retention.subjects import clustered_mean
from eval_hooks.retention.transitions import transitions
from eval_hooks.stats.clustered import clustered_interval
from eval_hooks.table import column, marks, scale_of


def paired(before: pa.Table, after: pa.Table) -> None:
    """Raise EvalError unless both tables hold the same items, in order, asked the same way."""
    was, now = schema_of(before), schema_of(after)
    if was is not now:
        raise EvalError(f"before and after are of two kinds, {was.kind} and {now.kind}; evaluate again")
    for name in now.paired_on:
        a, b = before.column(name).to_pylist(), after.column(name).to_pylist()
        if a != b:
            raise EvalError(
                f"before and after differ in {name}: {_first(before, a, b)}; only the same items can be paired"
            )


def _first(before: pa.Table, a: list[Any], b: list[Any]) -> str:
    """The first of two columns' values that differ, with its item; else how many there are."""
    for number, (x, y) in enumerate(zip(a, b, strict=False)):
        if x != y:
            item = before.column("item_id")[number].as_py()
            return f"{x!r} against {y!r}" + (f" (item {item})" if x != item else f" (item {number + 1} of {len(a)})")
    return f"{len(a)} items against {len(b)}"


def minimum_detectable(flips: float, n: float, alpha: float = ALPHA) -> float:
    """Smallest change seen with 80 % power, tested two-sided at alpha.

    (z(1 - alpha / 2) + z(80 %)) sqrt(p / n), p the Wilson upper bound of the share that flips; 1 at alpha 0.
    """
    z = float(norm.isf(alpha / 2)) + Z_POWER
    return min(1.0, float(z * np.sqrt(wilson(flips, n)[1] / n)))


def chance_corrected(
    before: np.ndarray, after: np.ndarray, chance: float, clusters: np.ndarray | None = None
) -> Estimate:
    """(acc after - chance) / (acc before - chance); missing where the base is not two standard errors above chance."""
    n, base = len(before), before.mean()
    if base <= chance + 2 * np.sqrt(base * (1 - base) / worth(n, clusters)):
        return missing(f"base accuracy {base:.3f} is not clearly above chance {chance:.3f}", n)

    def kept(counts: np.ndarray) -> dict[str, np.ndarray]:
        return {"kept": ratio(counts @ after / n - chance, counts @ before / n - chance)}

    return bootstrap({"kept": float((after.mean() - chance) / (base - chance))}, kept, n, clusters=clusters)["kept"]


def verdict(delta: Estimate, margin: float) -> str:
    """`dropped` if the interval lies below 0, `gained` if above, `kept` if above -margin, else `undecided`.

    An interval of counts holds 0 unless McNemar's exact test rejects it, so neither of the first two is said without.
    """
    if delta.low is None or delta.high is None:
        return "undecided"
    if delta.high < 0:
        return "dropped"
    if delta.low > 0:
        return "gained"
    return "kept" if delta.low > -margin else "undecided"


def gold_logp(table: pa.Table) -> np.ndarray:
    """Raw log-probability of the right option, (n,)."""
    return np.array(
        [
            logp[gold]
            for logp, gold in zip(table.column("logp").to_pylist(), table.column("gold").to_pylist(), strict=True)
        ]
    )


def delta_estimate(
    before: np.ndarray, after: np.ndarray, alpha: float = ALPHA, clusters: np.ndarray | None = None
) -> Estimate:
    """Mean of after - before with its paired interval at 1 - alpha, for other items like these.

    Items right or wrong have that of their counts (`interval`). Of scores between it is the wider of the bootstrap's,
    whose resamples end somewhere, and Student's; where none of them changed, the Wilson bound of the share that changes
    stands for an interval of width 0. At alpha 0 it is all there is. Of items that are copies of each other, (n,)
    `clusters`, each interval takes those whole.
    """
    n, change = len(before), after.astype(float) - before.astype(float)
    if n and np.isin(before, (0, 1)).all() and np.isin(after, (0, 1)).all():
        whole = None if clusters is None else Clusters.of(change, clusters)
        return paired_change(int((change < 0).sum()), int((change > 0).sum()), n, 1 - alpha, whole)
    if n and not change.any():
        z2 = float(norm.isf(alpha / 2)) ** 2
        bound = z2 / (worth(n, clusters) + z2) if np.isfinite(z2) else 1.0
        how = once("no item changed: Wilson bound of their share", clusters)
        return Estimate(value=0.0, low=-bound, high=bound, n=n, method=how)
    return _of_scores(change, alpha, clusters)


def _of_scores(change: np.ndarray, alpha: float, clusters: np.ndarray | None) -> Estimate:
    found, n = bootstrap_mean(change, alpha=alpha, clusters=clusters), len(change)
    if found.low is None or found.high is None or n < 2:
        return found
    half = float(student.isf(alpha / 2, n - 1) * change.std(ddof=1) / np.sqrt(n))
    low, high = change.mean() - half, change.mean() + half
    if clusters is not None:
        low, high = clustered_interval(np.bincount(clusters, weights=change), np.bincount(clusters), alpha)
    return replace(
        found,
        low=max(-1.0, min(found.low, float(low))),
        high=min(1.0, max(found.high, float(high))),
        method=f"wider of Student's and {found.method}",
    )


def over_subjects(change: np.ndarray, subjects: np.ndarray, items: Estimate, alpha: float = ALPHA) -> Estimate:
    """Mean of the items' change (n,) with its interval at 1 - alpha for new subjects; missing with too few subjects.

    Never narrower than that of the items of these subjects (`items`, at the same alpha): subjects that happen to have
    changed alike do not make their items sure, and 0 stays inside unless McNemar's exact test rejects no change.
    """
    found = clustered_mean(change, subjects, alpha)
    if found.low is None or found.high is None or items.low is None or items.high is None:
        return found
    return replace(
        found,
        low=max(-1.0, min(found.low, items.low)),
        high=min(1.0, max(found.high, items.high)),
        method=f"{found.method}, and no narrower than {items.method}",
    )


NEW_SUBJECTS = "new subjects"


def retention(
    before: pa.Table,
    after: pa.Table,
    margin: float,
    chance: float,
    baseline_step: int = 0,
    look: Look = ALONE,
    over: Over = "items",
    noise: Noise | None = None,
) -> dict[str, object]:
    """The `retention` entry of a summary. Raises EvalError for tables that are no pair.

    `delta` is the interval of this one look at 95 %; the verdict is that of `delta_run`, which holds together with the
    intervals of all the looks of the run. Both are for new subjects where the verdict is to hold `over` those and there
    are enough; the entry's `over` says for what they are. Neither leaves 0 out for what the arithmetic alone may flip:
    `noise`, or what the table before says of it.
    """
    paired(before, after)
    if not scale_of(after, before).share:
        return score_retention(before, after, baseline_step, look)
    a, b, clusters = marks(before), marks(after), clusters_of(after)
    lost, gained = int((a > b).sum()), int((b > a).sum())
    flips = Clusters.of(b - a, clusters) if clusters is not None else Clusters(lost=lost, gained=gained, worth=len(a))
    noise = noise or noise_of(before)

    def at(alpha: float) -> tuple[Estimate, Estimate]:
        """Of items like these, and of new subjects."""
        items = beyond(delta_estimate(a, b, alpha, clusters), lost, gained, noise.most(alpha) if noise else 0)
        return items, _new_subjects(after, b - a, items, alpha)

    (items, new), (items_run, new_run) = at(ALPHA), at(look.alpha)
    wide = over == "subjects" and new.value is not None
    delta, over_run = (new, new_run) if wide else (items, items_run)
    logp = (
        bootstrap_mean(gold_logp(after) - gold_logp(before), clusters=clusters)
        if schema_of(after).options
        else missing("no options to score", len(a))
    )
    return {
        "baseline_step": baseline_step,
        "over": NEW_SUBJECTS if wide else LIKE_THESE,
        "lost": lost,
        "gained": gained,
        "delta": delta.as_dict(),
        "delta_run": of_run(over_run, look),
        "delta_clustered": new.as_dict(),
        "mcnemar_p": mcnemar_exact(flips.lost, flips.gained),
        "e_value": e_value(flips.lost, flips.gained),
        "e_value_drop": e_value_drop(flips.lost, flips.gained),
        "log_e_value": log_e_value(flips.lost, flips.gained),
        "log_e_value_drop": log_e_value_drop(flips.lost, flips.gained),
        "chance_corrected": chance_corrected(a, b, chance, clusters).as_dict(),
        "delta_logp_gold": logp.as_dict(),
        "noise": noise.as_dict() if noise else None,
        "noise_flips": noise.flips if noise else None,
        "noise_most": noise.most(look.alpha) if noise else None,
        **{name: e.as_dict() for name, e in transitions(before, after).items()},
        "minimum_detectable": _detectable(lost + gained, len(a), clusters, over_run if wide else None, look.alpha),
        "margin": margin,
        "verdict": verdict(over_run, margin),
    }


def _detectable(flips: int, n: int, clusters: np.ndarray | None, wide: Estimate | None, alpha: float) -> float:
    """`minimum_detectable` of so many items as they are worth; of new subjects with half the width that they have."""
    of = worth(n, clusters)
    found = minimum_detectable(flips * of / n, of, alpha)
    if wide is None or wide.low is None or wide.high is None:
        return found
    share = Z_POWER / float(norm.isf(alpha / 2))
    return min(1.0, max(found, (wide.high - wide.low) / 2 * (1 + share)))


def _new_subjects(table: pa.Table, change: np.ndarray, items: Estimate, alpha: float) -> Estimate:
    if "subject" not in table.column_names:
        return missing("the items have no subjects", len(change))
    return over_subjects(change, column(table, "subject"), items, alpha)
