"""The entry of a task of which only a part was scored: every number is of all items, each scored one weighted.

All of it speaks of these very items, of which those not scored are unknown; a whole pass speaks of items like these.

A mean over items is the base's, which is known exactly, plus the weighted mean change; its interval is far narrower
than that of the sample's own mean (difference estimator: Cochran, Sampling Techniques, section 7.3). So are the sums of
ECE's bins. AUROC and AURC are no means: item weights N_h / n_h. Their intervals resample items within strata.

The change of accuracy ends the looking, so its plain estimate is too far out, and with it every mean that moves with
it: those are corrected by their regression on it (Whitehead 1986, Biometrics 42:461). ECE, AUROC and AURC are not.
"""

from collections.abc import Callable
from dataclasses import replace
from math import inf
from typing import Any

import numpy as np
import pyarrow as pa

from eval_hooks.calibration.brier import brier, brier_top_label
from eval_hooks.calibration.ece import width_bins
from eval_hooks.calibration.nll import nll
from eval_hooks.calibration.numbers import BIASED_UP, noted
from eval_hooks.calibration.resampled import spread
from eval_hooks.calibration.rise import FEWEST, METHOD, TIES, edge_of, gaps, two_phase
from eval_hooks.estimate import Estimate, missing, within
from eval_hooks.intervals import Z
from eval_hooks.retention import gold_logp, of_run, paired, verdict
from eval_hooks.retention.noise import beyond, noise_of
from eval_hooks.retention.power import Z_POWER
from eval_hooks.retention.spending import ALONE, ALPHA, Look
from eval_hooks.retention.strata import mean_of_all, slope
from eval_hooks.table import chance, column, probabilities
from eval_hooks.waves import Drawn

RESAMPLES = 1000
WHOLE_ONLY = ("ece_equal_mass", "ece_debiased", "smooth_ece", "rms", "mce", "classwise_ece", "e_aurc", "temperature",
              "ece_after_temperature")  # fmt: skip
"""Calibration numbers that need every item."""
Number = Callable[[np.ndarray], float | None]
"""Weights of the scored items (n,) -> a number of all items."""


def summarise_part(
    table: pa.Table, drawn: Drawn, *, entry: dict[str, Any], margin: float, baseline_step: int, look: Look = ALONE
) -> dict[str, Any]:
    """The whole entry, from what holds of any choice task (`entry`). Raises EvalError for tables that are no pair."""
    scored = drawn.items
    before = drawn.before.take(scored)
    paired(before, table)
    right, guess = float(column(drawn.before, "correct").mean()), chance(drawn.before)
    delta, over_run = (
        _beyond_noise(_delta(drawn, alpha), column(before, "correct"), column(table, "correct"), drawn, alpha)
        for alpha in (ALPHA, look.alpha)
    )
    return {
        **entry,
        "status": "stopped_early",
        "variant": table.column("variant")[0].as_py(),
        "shots": table.column("shots")[0].as_py(),
        "n": len(scored),
        "of": len(drawn.stratum),
        "waves": drawn.record(),
        "by_subject": {},
        "by_category": {},
        "reliability": [],
        "letter_mass": None,
        "saturated": None,
        "chance": guess,
        "accuracy": _shifted(delta, right).as_dict(),
        "accuracy_macro": missing("the items are drawn by margin, not by subject", len(scored)).as_dict(),
        "retention": {**_retention(table, before, drawn, delta, right, guess, look), "margin": margin,
                      "baseline_step": baseline_step, "delta_run": of_run(over_run, look),
                      "minimum_detectable": minimum_detectable(drawn, look.alpha),
                      "verdict": verdict(over_run, margin)},
        "calibration": {
            **dict.fromkeys(WHOLE_ONLY, missing("not had from a part of the items", len(scored)).as_dict()),
            "ece": noted(_resampled(moved_ece(drawn, before, table), drawn), BIASED_UP).as_dict(),
            **{name: _resampled(_of(number, table), drawn).as_dict() for name, number in NUMBERS.items()},
            "brier": within(_mean(drawn, delta, brier, table, ("p", "gold")), 0, 2).as_dict(),
            "brier_top_label": within(_mean(drawn, delta, brier_top_label, table, ("conf", "correct")), 0, 1).as_dict(),
            "nll": within(_mean(drawn, delta, nll, table, ("p_gold",)), 0, inf).as_dict(),
        },
    }  # fmt: skip


def _delta(drawn: Drawn, alpha: float) -> Estimate:
    """The change of these items, with an interval that holds at all looks together in 1 - alpha."""
    low, high = drawn.interval(alpha)
    return Estimate(
        value=drawn.value(), low=low, high=high, n=len(drawn.items),
        method=f"of these {len(drawn.stratum)} items, stratified by the base's margin; holds at all looks, "
        f"z = {drawn.seen.bounds(alpha)[-1]:.2f}; value without the bias of when it ended",
    )  # fmt: skip


def minimum_detectable(drawn: Drawn, alpha: float) -> float:
    """Smallest change of these items seen with 80 % power at this look, at alpha; 1 at alpha 0."""
    return min(1.0, float((drawn.seen.bounds(alpha)[-1] + Z_POWER) * drawn.change().se))


def _beyond_noise(delta: Estimate, before: np.ndarray, after: np.ndarray, drawn: Drawn, alpha: float) -> Estimate:
    """The same with 0 inside, where the arithmetic may have flipped as many of the scored items."""
    noise = noise_of(drawn.before)
    most = noise.most(alpha) if noise else 0
    return beyond(delta, int((before > after).sum()), int((after > before).sum()), most)


def _shifted(delta: Estimate, by: float) -> Estimate:
    assert delta.value is not None and delta.low is not None and delta.high is not None
    moved = replace(delta, value=by + delta.value, low=by + delta.low, high=by + delta.high)
    return within(moved, 0, 1)


def _retention(
    table: pa.Table, before: pa.Table, drawn: Drawn, delta: Estimate, right: float, guess: float, look: Look
) -> dict[str, Any]:
    a, b = column(before, "correct").astype(bool), column(table, "correct").astype(bool)
    lost, gained = flips_of_all(drawn, a & ~b, ~a & b)
    logp = gold_logp(table) - gold_logp(before)
    drawn_by, noise = "the items are drawn by margin", noise_of(drawn.before)
    return {
        "over": "these items",
        "lost": lost,
        "gained": gained,
        "delta": delta.as_dict(),
        "delta_clustered": missing(drawn_by, len(a)).as_dict(),
        "mcnemar_p": None,
        "e_value": None,  # of counts that chance made equal under no change, which those of a weighted sample are not
        "e_value_drop": None,
        "log_e_value": None,
        "log_e_value_drop": None,
        "chance_corrected": _ratio(delta, right, guess, len(drawn.stratum)).as_dict(),
        "delta_logp_gold": _estimate(drawn, delta, logp, 0.0).as_dict(),
        "ece_rise": part_rise(table, drawn).as_dict(),
        "ece_rise_run": of_run(part_rise(table, drawn, look.alpha), look),
        "noise": noise.as_dict() if noise else None,
        "noise_flips": noise.flips if noise else None,
        "noise_most": noise.most(look.alpha) if noise else None,
        **dict.fromkeys(
            ("churn", "forgetting", "backward_transfer"), missing("not had from a part of the items", len(a)).as_dict()
        ),
    }


def part_rise(table: pa.Table, drawn: Drawn, alpha: float = ALPHA) -> Estimate:
    """`ece_rise` from the items scored so far; its interval holds at all looks at level 1 - alpha.

    Missing until each stratum has enough of them. The items of the base are no fixed population here: a word is about
    calibration on items like these. All there is at alpha 0.
    """
    found = drawn.change()
    scarce = int(min(found.scored))
    if scarce < FEWEST:
        return missing(f"a stratum has {scarce} scored items: {FEWEST} are needed for a change of calibration", found.n)
    edge = edge_of(drawn.before)
    first = gaps(drawn.before, edge)
    pairs = drawn.by_stratum(np.concatenate([gaps(table, edge), first[drawn.items]], axis=1))
    moved = two_phase(first, pairs, (found.lost + found.gained).tolist(), drawn.sizes)
    z = float(drawn.seen.bounds(alpha / TIES)[-1]) if alpha else 0.0
    low, high = (moved.least(z), moved.most(z)) if alpha else (-1.0, 1.0)
    return Estimate(
        value=moved.rise, low=low, high=high, n=found.n,
        method=f"{METHOD}; stratified by the base's margin; holds at all looks",
    )  # fmt: skip


def flips_of_all(drawn: Drawn, lost: np.ndarray, gained: np.ndarray) -> tuple[int, int]:
    """(lost, gained) of all items, estimated from those scored, (n,) each; their difference is the change's value.

    What the change is corrected by is taken from both in proportion: of counts that vary as their means do, that is
    their regression on the change.
    """
    weights, n = drawn.weights(), len(drawn.stratum)
    before = np.array([weights[lost].sum(), weights[gained].sum()])
    correction = n * (drawn.value() - drawn.change().value)
    share = before / before.sum() if before.any() else np.full(2, 0.5)
    found = np.maximum(0.0, before + np.array([-1, 1]) * share * correction)
    return round(float(found[0])), round(float(found[1]))


def _ratio(delta: Estimate, right: float, guess: float, n: int) -> Estimate:
    """(accuracy - chance) / (base's - chance): a straight line in the change, since the base is known."""
    if right <= guess + 2 * np.sqrt(right * (1 - right) / n):
        return missing(f"base accuracy {right:.3f} is not clearly above chance {guess:.3f}", delta.n)
    value, low, high = (1 + float(part or 0.0) / (right - guess) for part in (delta.value, delta.low, delta.high))
    return Estimate(value=value, low=low, high=high, n=delta.n, method=delta.method)


def _mean(
    drawn: Drawn, delta: Estimate, each: Callable[..., np.ndarray], table: pa.Table, names: tuple[str, ...]
) -> Estimate:
    """The mean over all items of a number of each item."""

    def of(one: pa.Table) -> np.ndarray:
        take = {"p": probabilities, "correct": lambda t: column(t, "correct").astype(float)}
        return each(*(take[name](one) if name in take else column(one, name) for name in names))

    base = of(drawn.before)
    return _estimate(drawn, delta, of(table) - base[drawn.items], float(base.mean()))


def _estimate(drawn: Drawn, delta: Estimate, change: np.ndarray, base: float) -> Estimate:
    """A mean that the items' changes (n,) move from the base's: what is left of it beside the change of accuracy.

    M = R + b D, b = cov(M, D) / var(D): R has nothing to do with when the looking ended, and D stands for itself with
    its own interval; the ends are combined as those of independent numbers (MOVER: Zou, Donner 2008).
    """
    assert delta.value is not None and delta.low is not None and delta.high is not None
    found, by_stratum = drawn.change(), drawn.by_stratum(change)
    mean, se = mean_of_all(by_stratum, drawn.sizes)
    b = slope(drawn.by_stratum(drawn.changed), by_stratum, drawn.sizes)
    rest = Z**2 * max(0.0, se**2 - b**2 * float(found.plain_variance(found.scored)))
    value = base + mean + b * (delta.value - found.value)
    down, up = sorted((b * (delta.low - delta.value), b * (delta.high - delta.value)))
    return Estimate(
        value=value, low=value - float(np.hypot(np.sqrt(rest), down)), high=value + float(np.hypot(np.sqrt(rest), up)),
        n=len(change), method="the base's, plus the change stratified by its margin, less what its ending adds",
    )  # fmt: skip


def _of(number: Callable[[np.ndarray, np.ndarray, np.ndarray], float | None], table: pa.Table) -> Number:
    """A weighted number of confidence and correctness as one of weights."""
    conf, correct = column(table, "conf"), column(table, "correct").astype(float)
    return lambda weight: number(conf, correct, weight)


def _resampled(number: Number, drawn: Drawn, seed: int = 0) -> Estimate:
    """A weighted number with a percentile interval over items resampled within strata."""
    weights, n = drawn.weights(), len(drawn.items)
    value = number(weights)
    if value is None:
        return missing("undefined on these items", n)
    strata, rng, found = drawn.by_stratum(np.arange(n)), np.random.default_rng(seed), []
    for _ in range(RESAMPLES):
        index = np.concatenate([rng.choice(members, len(members)) for members in strata])
        found.append(number(weights * np.bincount(index, minlength=n)))
    low, high = np.quantile([one for one in found if one is not None], [0.025, 0.975])
    return Estimate(
        value=value, low=float(low), high=float(high), n=n,
        method=f"weighted by stratum; bootstrap within strata, {RESAMPLES} resamples",
    )  # fmt: skip


def moved_ece(drawn: Drawn, before: pa.Table, after: pa.Table) -> Callable[[np.ndarray], float]:
    """ECE over equal-width bins: each bin's sum of (correct - conf) is the base's plus the weighted change.

    A small sample's own sums are mostly noise, of which ECE takes the absolute value; their changes are small.
    """
    change = _gaps(after) - _gaps(before)
    base, n = _gaps(drawn.before).sum(axis=0), len(drawn.stratum)
    return lambda weight: float(np.abs(base + weight @ change).sum() / n)


def _gaps(table: pa.Table) -> np.ndarray:
    """(correct - conf) of each item in the column of its bin, (n, bins)."""
    conf = column(table, "conf")
    return spread(width_bins(conf), column(table, "correct").astype(float) - conf)


def weighted_auroc(conf: np.ndarray, correct: np.ndarray, weight: np.ndarray) -> float | None:
    """`auroc`, an item counting `weight` times; None where all weight is on right ones, or on wrong ones."""
    _, block = np.unique(conf, return_inverse=True)
    right, wrong = (np.bincount(block, weights=weight * part) for part in (correct, 1 - correct))
    pairs = right.sum() * wrong.sum()
    return float((right * (np.cumsum(wrong) - wrong / 2)).sum() / pairs) if pairs else None


def weighted_aurc(conf: np.ndarray, correct: np.ndarray, weight: np.ndarray) -> float:
    """`aurc`, an item counting `weight` times: the mean over items of the error rate at their confidence and above.

    Inside a block of ties errors are spread evenly, as there.
    """
    order = np.argsort(-conf, kind="stable")
    _, block = np.unique(-conf[order], return_inverse=True)
    w = weight[order]
    wrong, size = (np.bincount(block, weights=part) for part in (w * (1.0 - correct[order]), w))
    rate = np.divide(wrong, size, out=np.zeros_like(wrong), where=size > 0)[block]
    there = w > 0
    return float((w * np.cumsum(w * rate))[there] @ (1 / np.cumsum(w)[there]) / w.sum())


NUMBERS = {"auroc": weighted_auroc, "aurc": weighted_aurc}
