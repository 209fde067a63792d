"""compare.png: every change with its interval, and what was won against what was kept."""

from collections.abc import Sequence
from typing import Any

from eval_hooks.compare.plane import Point
from eval_hooks.compare.result import Comparison, letter
from eval_hooks.estimate import Estimate
from eval_hooks.report.colours import BLUE, GREEN, GREY, ORANGE
from eval_hooks.report.parts import finish, picture
from eval_hooks.results.text import entry_number, plotted
from eval_hooks.visible import in_picture

VERDICTS = {"dropped": ORANGE, "gained": BLUE, "kept": GREEN, "undecided": GREY}
ROW, HEAD, LINE = 0.34, 1.05, 0.17
"""Inches of a model's row, of a panel's title and axis, and of a further line under it."""
LONGEST = 26
"""Letters of a model's name that fit beside a panel."""


def compare_png(result: Comparison) -> bytes:
    """A forest panel for each task; beside them the plane, where models have a place in it."""
    from matplotlib.figure import Figure

    head = HEAD + (LINE if len(result.pairs) > 1 else 0.0)
    heights = [head + ROW * len(result.models) for _ in result.tasks]
    tall = max(sum(heights) + 0.6, 5.2 if result.points else 0.0)
    figure = Figure(figsize=(16 / 1.5 if result.points else 8.0, tall), dpi=150, layout="constrained")
    figure.suptitle(f"{len(result.models)} models, paired with {_name(result, 0)}", fontsize=13, fontweight="bold")
    left, right = figure.subfigures(1, 2, width_ratios=[1.1, 1]) if result.points else (figure, None)
    panels = left.subplots(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0]
    for axis, task in zip(panels, result.tasks, strict=True):
        _forest(axis, result, task)
    for verdict, colour in VERDICTS.items():
        panels[-1].plot([], [], "o", color=colour, label=verdict)
    left.legend(loc="outside lower center", ncols=len(VERDICTS), fontsize=8, frameon=False)
    if right is not None:
        _plane(right.subplots(), result)
    return picture(figure, "png")


def _name(result: Comparison, model: int) -> str:
    name = result.named(model)
    return in_picture(name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…")


def _forest(axis: Any, result: Comparison, task: str) -> None:
    """Paired changes against A, A itself on the line of 0; accuracy stands at the right."""
    paired = {pair.model: pair for pair in result.of(task)}
    shown = range(len(result.models))
    for row in shown:
        measured = result.models[row].tasks().get(task, {})
        if row == 0:
            axis.plot([0], [row], "D", color="black", ms=5)
        elif row in paired:
            entry = paired[row].entry
            for change, lw in ((paired[row].together, 1.2), (paired[row].alone, 3.2)):
                value, low, high = plotted(change)
                axis.errorbar(value, row, xerr=[[value - low], [high - value]], fmt="o", ms=6, capsize=3, lw=lw,
                              color=VERDICTS[entry["verdict"]])  # fmt: skip
        else:
            axis.text(0, row, "not paired", fontsize=8, color=GREY, ha="center", va="center", backgroundcolor="white")
        if measured:
            came_to = entry_number(measured).partition(" (")[0]
            axis.text(1.01, row, came_to, transform=axis.get_yaxis_transform(), fontsize=8, va="center")
    margins = {pair.entry["margin"] for pair in paired.values()}
    if len(margins) == 1 and None not in margins:
        axis.axvline(-100 * margins.pop(), color=ORANGE, ls="--", lw=0.8)
    axis.axvline(0, color=GREY, lw=0.8)
    axis.set_yticks(shown, [_name(result, row) for row in shown])
    axis.set_ylim(len(result.models) - 0.5, -0.5)
    low, high = axis.get_xlim()
    least = max(1.0, 0.15 * (high - low))
    axis.set_xlim(min(low, -least), max(high, least))
    n, pairs = result.of(task)[0].n, len(result.pairs)
    unit = result.of(task)[0].entry.get("unit") or "points"
    lines = f"\nthin: all {pairs} comparisons together, thick: one alone, 95 %" if pairs > 1 else ""
    finish(axis, f"{task}: change against A, {n:,} items", f"{unit} (dashed: the margin; right: accuracy){lines}", "")


def _plane(axis: Any, result: Comparison) -> None:
    """A cross a model, its letter beside it; models at the same place share theirs."""
    at: dict[tuple[float, float], list[int]] = {}
    for point in result.points:
        (x, *across), (y, *along) = _points(point.retained), _points(point.target)
        at.setdefault((x, y), []).append(point.model)
        axis.errorbar(
            x, y, xerr=[[x - across[0]], [across[1] - x]], yerr=[[y - along[0]], [along[1] - y]], fmt="o", ms=7, lw=1.4,
            capsize=3, zorder=2 if point.dominated else 3, **_ink(point),
        )  # fmt: skip
    inks = {point.model: _ink(point) for point in result.points}
    for place, models in at.items():
        axis.annotate(", ".join(map(letter, models)), place, xytext=(6, 6), textcoords="offset points", fontsize=10,
                      fontweight="bold", color=inks[models[0]]["color"])  # fmt: skip
    axis.margins(0.12)
    corners = [(_points(p.retained)[0], _points(p.target)[0]) for p in result.points if not p.dominated]
    left, foot = axis.get_xlim()[0], axis.get_ylim()[0]
    axis.plot(*staircase(corners, left, foot), color=BLUE, lw=1.2, alpha=0.5, zorder=1, label="Pareto front, by value")
    axis.set_xlim(left, axis.get_xlim()[1])
    axis.set_ylim(foot, axis.get_ylim()[1])
    if any(point.dominated for point in result.points):
        axis.plot([], [], "o", color=GREY, alpha=0.45, label="dominated")
    axis.axvline(0, color=GREY, lw=0.8)
    axis.axhline(0, color=GREY, lw=0.8)
    finish(axis, "What was won against what was kept", "retained: change since the start, points",
           "target: change since the start, points")  # fmt: skip


def _ink(point: Point) -> dict[str, Any]:
    return {"color": GREY, "alpha": 0.45} if point.dominated else {"color": BLUE, "alpha": 1.0}


def _points(estimate: Estimate) -> tuple[float, float, float]:
    """Value, low and high of a share, times 100."""
    value, low, high = (100 * float(getattr(estimate, side) or 0.0) for side in ("value", "low", "high"))
    return value, low, high


def staircase(points: Sequence[tuple[float, float]], left: float, foot: float) -> tuple[list[float], list[float]]:
    """Edge of what undominated (x, y) dominate, from the left border to the foot: (xs, ys)."""
    xs, ys = [left], [max(y for _, y in points)]
    for x, y in sorted(points):
        xs += [xs[-1], x]
        ys += [y, y]
    return [*xs, xs[-1]], [*ys, foot]
