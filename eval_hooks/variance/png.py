"""variance.png: every seed's curve with their spread, the best continuous score beside accuracy, signal to noise."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from eval_hooks.report.colours import BLUE, GREEN, GREY, ORANGE
from eval_hooks.report.parts import finish, picture
from eval_hooks.variance import Variance
from eval_hooks.variance.spread import BOUNDED, Spread
from eval_hooks.variance.words import shown, unit
from eval_hooks.visible import in_picture

PREFERRED = ("p_gold", "probability_value", "loss")
"""Continuous scores to draw beside accuracy."""


def variance_png(result: Variance) -> bytes:
    """A row a task: accuracy, a continuous score, and each metric's signal to noise."""
    from matplotlib.figure import Figure

    rows = len(result.tasks)
    figure = Figure(figsize=(16 / 1.5, 3.2 * rows + 0.5), dpi=150, layout="constrained")
    figure.suptitle(f"{len(result.runs)} runs that differ in their seeds", fontsize=13, fontweight="bold")
    for axes, task in zip(figure.subplots(rows, 3, squeeze=False), result.tasks, strict=True):
        of = result.of(task)
        drawn = [of[0], *(one for one in of[1:] if one.metric in PREFERRED)][:2]
        for axis, colour, one in zip(axes, (BLUE, GREEN), drawn, strict=False):
            _curves(axis, one, colour)
        for axis in axes[len(drawn) : 2]:
            axis.set_axis_off()
        _signal(axes[2], of)
    return picture(figure, "png")


def _curves(axis: Any, one: Spread, colour: str) -> None:
    """Thin lines for runs, their mean, and two of their standard deviations around it."""
    scale = 100.0 if one.unit in BOUNDED else 1.0
    scores = scale * np.array(one.scores)
    mean, sigma = scores.mean(axis=0), scores.std(axis=0, ddof=1)
    axis.fill_between(one.steps, mean - 2 * sigma, mean + 2 * sigma, color=colour, alpha=0.15, label="mean -+ 2 sigma")
    for row in scores:
        axis.plot(one.steps, row, color=colour, lw=0.7, alpha=0.6)
    axis.plot(one.steps, mean, "o-", color=colour, lw=2, ms=4, label="mean of runs")
    if one.chance:
        axis.axhline(scale * one.chance, color=GREY, ls=":", lw=1, label="guessing")
    if len(one.steps) == 1:
        axis.set_xticks(one.steps)
    y = "%" if one.unit in BOUNDED else ""
    finish(axis, f"{one.task}: {one.metric}", f"step\n{_noise(one)}", y)


def _noise(one: Spread) -> str:
    if one.smallest is None:
        return "the runs do not differ in any item"
    if one.unit in BOUNDED and one.smallest >= 1:
        return "no difference can be told from the seeds of so few runs"
    return f"5 % of pairs of runs differ by over {shown(one, one.smallest)}{unit(one)}"


def _signal(axis: Any, of: Sequence[Spread]) -> None:
    """(mu - chance) / sigma, or mu / sigma where chance is not known, with its 95 % interval; an arrow: no end."""
    rows = [(one, one.snr_above_chance if one.chance is not None else one.snr) for one in of]
    rows = [(one, estimate) for one, estimate in rows if estimate.value is not None]
    if not rows:
        axis.set_axis_off()
        return
    for place, (one, estimate) in enumerate(rows):
        value = float(estimate.value or 0.0)
        low, high = (value if end is None else end for end in (estimate.low, estimate.high))
        mark = ">" if estimate.high is None else "<" if estimate.low is None else "o"
        colour = BLUE if one.chance is not None else ORANGE
        axis.errorbar(value, place, xerr=[[value - low], [high - value]], fmt=mark, capsize=3, color=colour)
    if all((estimate.low or 0.0) > 0 for _, estimate in rows):
        axis.set_xscale("log")
    axis.set_yticks(
        range(len(rows)), [in_picture(one.metric if one.chance is not None else f"{one.metric} *") for one, _ in rows]
    )
    axis.set_ylim(len(rows) - 0.5, -0.5)
    finish(axis, "Signal to noise", "(mean - chance) / sigma; *: mean / sigma", "")
