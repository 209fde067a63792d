"""compare-seeds.png: every run's score, and the difference of the recipes with its interval."""

from typing import Any

from eval_hooks.report.colours import BLUE, GREEN, GREY, ORANGE
from eval_hooks.report.parts import finish, picture
from eval_hooks.seeds.result import SeedComparison, TaskResult
from eval_hooks.visible import in_picture

VERDICTS = {"A is better": BLUE, "B is better": ORANGE, "no difference": GREEN, "undecided": GREY}
ROW = 1.75
"""Inches of a task."""


def seeds_png(result: SeedComparison) -> bytes:
    """A row a task: the runs at the left, the difference at the right."""
    from matplotlib.figure import Figure

    rows = len(result.tasks)
    figure = Figure(figsize=(16 / 1.5, ROW * rows + 0.9), dpi=150, layout="constrained")
    title = f"Recipe A ({len(result.groups.a)} runs) against recipe B ({len(result.groups.b)} runs)"
    figure.suptitle(title, fontsize=13, fontweight="bold")
    for (left, right), one in zip(figure.subplots(rows, 2, squeeze=False), result.tasks, strict=True):
        _runs(left, one)
        _difference(right, one)
    return picture(figure, "png")


def _runs(axis: Any, one: TaskResult) -> None:
    """A dot a run, a bar at the mean."""
    for row, (values, mean, colour) in enumerate(zip((one.a, one.b), one.means, (BLUE, ORANGE), strict=True)):
        axis.plot([100 * value for value in values], [row] * len(values), "o", color=colour, ms=6, alpha=0.6)
        axis.plot([100 * mean] * 2, [row - 0.25, row + 0.25], color=colour, lw=2.5)
        axis.text(1.01, row, f"{100 * mean:.1f} %", transform=axis.get_yaxis_transform(), fontsize=8, va="center")
    axis.set_yticks([0, 1], ["A", "B"])
    axis.set_ylim(1.5, -0.5)
    finish(axis, one.task, f"score of each run on {one.difference.n:,} items, %; bar: their mean", "")


def _difference(axis: Any, one: TaskResult) -> None:
    """The interval that the verdict is read from; inside it, what the items alone would give."""
    value = 100 * (one.difference.value or 0.0)
    low, high = 100 * one.adjusted.low, 100 * one.adjusted.high
    colour = VERDICTS[one.verdict]
    axis.errorbar(value, 0, xerr=[[value - low], [high - value]], fmt="o", ms=7, capsize=4, lw=1.8, color=colour)
    axis.plot([100 * end for end in one.items], [0.45] * 2, color=GREY, lw=1.4, marker="|")
    axis.text(value, 0.62, "items alone", fontsize=7, color=GREY, ha="center", va="top")
    for edge in (-100 * one.margin, 100 * one.margin):
        axis.axvline(edge, color=GREY, ls="--", lw=0.8)
    axis.axvline(0, color=GREY, lw=0.8)
    axis.set_yticks([])
    axis.set_ylim(1.1, -0.6)
    word = in_picture(one.verdict)
    finish(axis, word, f"A - B, points; {100 * one.adjusted.level:.4g} % over seeds and items; dashed: the margin", "")
