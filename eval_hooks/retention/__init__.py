"""What was lost: the same items before and after, paired."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
from scipy.stats import norm
from scipy.stats import t as student

from eval_hooks.errors import EvalError
from eval_hooks.estimate import Estimate, missing
from eval_hooks.intervals import bootstrap, bootstrap_mean, ratio, wilson
from eval_hooks.retention.flips import e_value, e_value_drop, mcnemar_exact
from eval_hooks.retention.interval import paired_change
from eval_hooks.retention.noise import Noise, beyond, noise_of
from eval_hooks.retention.power import Z_POWER
from eval_hooks.retention.spending import ALONE, ALPHA, Look
from eval_hooks.retention.subjects import clustered_mean
from eval_hooks.retention.transitions import transitions
from eval_hooks.table import column, kind_of, marks


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


def minimum_detectable(flips: int, n: int, alpha: float = ALPHA) -> float:
    """Smallest change seen with 80 % power, tested two-sided at alpha.

    (z(1 - alpha / 2) + z(80 %)) sqrt(p / n), p the Wilson upper bound of the share that flips; 1 at alpha 0.
    """
    z = float(norm.isf(alpha / 2)) + Z_POWER
    return min(1.0, float(z * np.sqrt(wilson(flips, n)[1] / n)))


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


def of_run(estimate: Estimate, look: Look) -> dict[str, object]:
    """The interval of a look as one of its run's."""
    return {"low": estimate.low, "high": estimate.high, "level": look.level, "looks": look.looks, "alpha": look.alpha}


def gold_logp(table: pa.Table) -> np.ndarray:
    """Raw log-probability of the right option, (n,)."""
    return np.array(
        [
            logp[gold]
            for logp, gold in zip(table.column("logp").to_pylist(), table.column("gold").to_pylist(), strict=True)
        ]
    )


def delta_estimate(before: np.ndarray, after: np.ndarray, alpha: float = ALPHA) -> Estimate:
    """Mean of after - before with its paired interval at 1 - alpha.

    Items right or wrong have that of their counts (`interval`). Of scores between it is the wider of the bootstrap's,
    whose resamples end somewhere, and Student's; where none of them changed, the Wilson bound of the share that changes
    stands for an interval of width 0. At alpha 0 it is all there is.
    """
    n = len(before)
    if n and np.isin(before, (0, 1)).all() and np.isin(after, (0, 1)).all():
        return paired_change(int((before > after).sum()), int((after > before).sum()), n, 1 - alpha)
    if n and not (before != after).any():
        z2 = float(norm.isf(alpha / 2)) ** 2
        bound = z2 / (n + z2) if np.isfinite(z2) else 1.0
        return Estimate(value=0.0, low=-bound, high=bound, n=n, method="no item changed: Wilson bound of their share")
    return _of_scores(after.astype(float) - before.astype(float), alpha)


def _of_scores(change: np.ndarray, alpha: float) -> Estimate:
    found, n = bootstrap_mean(change, alpha=alpha), len(change)
    if found.low is None or found.high is None or n < 2:
        return found
    half = float(student.isf(alpha / 2, n - 1) * change.std(ddof=1) / np.sqrt(n))
    mean = float(change.mean())
    return replace(
        found,
        low=max(-1.0, min(found.low, mean - half)),
        high=min(1.0, max(found.high, mean + half)),
        method=f"wider of Student's and {found.method}",
    )


def retention(
    before: pa.Table,
    after: pa.Table,
    margin: float,
    chance: float,
    baseline_step: int = 0,
    look: Look = ALONE,
    noise: Noise | None = None,
) -> dict[str, object]:
    """The `retention` entry of a summary. Raises EvalError for tables that are no pair.

    `delta` is the interval of this one look at 95 %; the verdict is that of `delta_run`, which holds together with the
    intervals of all the looks of the run. Neither leaves 0 out for what the arithmetic alone may flip: `noise`, or what
    the table before says of it.
    """
    paired(before, after)
    a, b = marks(before), marks(after)
    lost, gained = int((a > b).sum()), int((b > a).sum())
    noise = noise or noise_of(before)

    def at(alpha: float) -> Estimate:
        return beyond(delta_estimate(a, b, alpha), lost, gained, noise.most(alpha) if noise else 0)

    over_run = at(look.alpha)
    logp = (
        bootstrap_mean(gold_logp(after) - gold_logp(before))
        if kind_of(after) == "choice"
        else missing("no options to score", len(a))
    )
    return {
        "baseline_step": baseline_step,
        "lost": lost,
        "gained": gained,
        "delta": at(ALPHA).as_dict(),
        "delta_run": of_run(over_run, look),
        "delta_clustered": _by_subjects(after, b - a).as_dict(),
        "mcnemar_p": mcnemar_exact(lost, gained),
        "e_value": e_value(lost, gained),
        "e_value_drop": e_value_drop(lost, gained),
        "chance_corrected": chance_corrected(a, b, chance).as_dict(),
        "delta_logp_gold": logp.as_dict(),
        "noise": noise.as_dict() if noise else None,
        "noise_flips": noise.flips if noise else None,
        "noise_most": noise.most(look.alpha) if noise else None,
        **{name: e.as_dict() for name, e in transitions(before, after).items()},
        "minimum_detectable": minimum_detectable(lost + gained, len(a), look.alpha),
        "margin": margin,
        "verdict": verdict(over_run, margin),
    }


def _by_subjects(table: pa.Table, change: np.ndarray) -> Estimate:
    if "subject" not in table.column_names:
        return missing("the items have no subjects", len(change))
    return clustered_mean(change, column(table, "subject"))
