"""What was lost: the same items before and after, paired."""

import numpy as np
import pyarrow as pa

from eval_hooks.errors import EvalError
from eval_hooks.estimate import Estimate, missing
from eval_hooks.intervals import Z, bootstrap, bootstrap_mean, ratio, wilson
from eval_hooks.retention.flips import e_value, e_value_drop, mcnemar_exact
from eval_hooks.retention.interval import paired_change
from eval_hooks.retention.subjects import clustered_mean
from eval_hooks.table import column, kind_of, marks, noise_of

POWER_80 = 2.80
"""z(97.5 %) + z(80 %)."""


def paired(before: pa.Table, after: pa.Table) -> None:
    """Raise EvalError unless both tables hold the same items, in order, asked the same way."""
    names = ("item_id", "gold", "variant", "shots") if kind_of(after) == "choice" else ("item_id", "gold")
    for name in names:
        a, b = before.column(name).to_pylist(), after.column(name).to_pylist()
        if a != b:
            first = next(((x, y) for x, y in zip(a, b, strict=False) if x != y), (len(a), len(b)))
            raise EvalError(
                f"before and after differ in {name}: {first[0]!r} against {first[1]!r}; only the same items can be "
                "paired"
            )


def minimum_detectable(flips: int, n: int) -> float:
    """Smallest change seen with 80 % power at two-sided 5 %.

    2.80 sqrt(p / n), p the Wilson upper bound of the share that flips.
    """
    return float(POWER_80 * np.sqrt(wilson(flips, n)[1] / n))


def chance_corrected(before: np.ndarray, after: np.ndarray, chance: float) -> Estimate:
    """(acc after - chance) / (acc before - chance); missing where the base is not two standard errors above chance."""
    n, base = len(before), before.mean()
    if base <= chance + 2 * np.sqrt(base * (1 - base) / n):
        return missing(f"base accuracy {base:.3f} is not clearly above chance {chance:.3f}", n)

    def kept(counts: np.ndarray) -> dict[str, np.ndarray]:
        return {"kept": ratio(counts @ after / n - chance, counts @ before / n - chance)}

    return bootstrap({"kept": float((after.mean() - chance) / (base - chance))}, kept, n)["kept"]


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


def delta_estimate(before: np.ndarray, after: np.ndarray) -> Estimate:
    """Mean of after - before with its paired interval.

    Items right or wrong have that of their counts (`interval`). Scores between are resampled; where none of them
    changed, the Wilson bound of the share that changes stands for an interval of width 0.
    """
    n = len(before)
    if n and np.isin(before, (0, 1)).all() and np.isin(after, (0, 1)).all():
        return paired_change(int((before > after).sum()), int((after > before).sum()), n)
    if n and not (before != after).any():
        bound = Z * Z / (n + Z * Z)
        return Estimate(value=0.0, low=-bound, high=bound, n=n, method="no item changed: Wilson bound of their share")
    return bootstrap_mean(after.astype(float) - before.astype(float))


def retention(
    before: pa.Table, after: pa.Table, margin: float, chance: float, baseline_step: int = 0
) -> dict[str, object]:
    """The `retention` entry of a summary. Raises EvalError for tables that are no pair."""
    paired(before, after)
    a, b = marks(before), marks(after)
    lost, gained = int((a > b).sum()), int((b > a).sum())
    delta = delta_estimate(a, b)
    logp = (
        bootstrap_mean(gold_logp(after) - gold_logp(before))
        if kind_of(after) == "choice"
        else missing("no options to score", len(a))
    )
    return {
        "baseline_step": baseline_step,
        "lost": lost,
        "gained": gained,
        "delta": delta.as_dict(),
        "delta_clustered": _by_subjects(after, b - a).as_dict(),
        "mcnemar_p": mcnemar_exact(lost, gained),
        "e_value": e_value(lost, gained),
        "e_value_drop": e_value_drop(lost, gained),
        "chance_corrected": chance_corrected(a, b, chance).as_dict(),
        "delta_logp_gold": logp.as_dict(),
        "noise_flips": noise_of(before),
        "minimum_detectable": minimum_detectable(lost + gained, len(a)),
        "margin": margin,
        "verdict": verdict(delta, margin),
    }


def _by_subjects(table: pa.Table, change: np.ndarray) -> Estimate:
    if "subject" not in table.column_names:
        return missing("the items have no subjects", len(change))
    return clustered_mean(change, column(table, "subject"))
