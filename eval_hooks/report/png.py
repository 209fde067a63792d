"""report.png: the whole run in one picture, readable at half size."""

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from eval_hooks.files import write_atomic
from eval_hooks.report.colours import BLUE, GREEN, GREY, ORANGE
from eval_hooks.report.detail import draw_flips, draw_samples
from eval_hooks.report.parts import finish, picture, seams
from eval_hooks.report.view import RunView, paired_changes, samples
from eval_hooks.report.words import headline, over_run
from eval_hooks.visible import in_picture

WIDEST = 62
"""Letters of a title that fit over a panel."""


def write_png(run: RunView, path: Path) -> None:
    """Learning, accuracy, retention, reliability, flips, samples: 1600 x 1500 pixels, whole or not at all."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(16 / 1.5, 10), dpi=150, layout="constrained")
    upper, lower = figure.subfigures(2, 1, height_ratios=[2, 1])  # apart, so that long names squeeze one row only
    axes = [*upper.subplots(2, 2), lower.subplots(1, 2)]
    _learning(axes[0][0], run)
    _accuracies(axes[0][1], run)
    _retention(axes[1][0], run)
    _reliability(axes[1][1], run)
    finish(axes[2][0], draw_flips(axes[2][0], run), "items", "")
    draw_samples(axes[2][1], run)
    finish(axes[2][1], "Samples before and after" if samples(run) else "", "", "")
    figure.suptitle(
        in_picture(f"{run.folder.name}: step {run.first['step']} to {run.last['step']}"), fontsize=13, fontweight="bold"
    )
    write_atomic(path, picture(figure, "png"))


def _learning(axis: Any, run: RunView) -> None:
    if curve := run.curve("train/loss"):
        axis.plot(*zip(*curve, strict=True), color=GREY, lw=1.5, label="training")
    for colour, name in zip((BLUE, ORANGE, GREEN), run.last.get("validation", {}), strict=False):
        if points := run.curve(f"val/{name}/loss"):
            axis.plot(*zip(*points, strict=True), "o-", color=colour, lw=2, label=in_picture(f"held-out {name}"))
    seams(axis, run)
    finish(axis, "Learning: loss per token", "step", "nats")


def _accuracies(axis: Any, run: RunView) -> None:
    for colour, (name, entry) in zip((BLUE, ORANGE, GREEN, GREY), run.last["tasks"].items(), strict=False):
        rows = [
            (s["step"], found)
            for s in run.summaries
            if (found := s["tasks"].get(name, {}).get("accuracy")) and found["low"] is not None
        ]
        if rows:
            steps, values = zip(
                *[(step, [100 * e[key] for key in ("value", "low", "high")]) for step, e in rows], strict=True
            )
            error = [[v[0] - v[1] for v in values], [v[2] - v[0] for v in values]]
            axis.errorbar(
                steps,
                [v[0] for v in values],
                yerr=error,
                fmt="o-",
                capsize=3,
                color=colour,
                label=in_picture(f"{name} ({entry['role']})"),
            )
    axis.set_ylim(0, 100)
    seams(axis, run)
    finish(axis, "Accuracy, 95 % interval", "step", "%")


def _retention(axis: Any, run: RunView) -> None:
    title = "Retention: change against the base"
    for colour, (name, entry) in zip(
        (BLUE, ORANGE, GREEN), [i for i in run.last["tasks"].items() if i[1]["role"] == "retain"], strict=False
    ):
        changes = [(step, paired) for step, paired in paired_changes(run, name) if not paired.get("unit")]
        if not changes:
            continue
        steps = [changes[0][1]["baseline_step"], *(step for step, _ in changes)]
        for bounds in ([over_run(r) for _, r in changes], [r["delta"] for _, r in changes]):  # the wider one first
            low, high = ([0.0, *(100 * one[end] for one in bounds)] for end in ("low", "high"))
            axis.fill_between(steps, low, high, color=colour, alpha=0.15, lw=0)
        values = [0.0, *(100 * r["delta"]["value"] for _, r in changes)]
        axis.plot(steps, values, "o-", color=colour, label=in_picture(name))
        margin = 100 * entry["retention"]["margin"]
        axis.axhline(-margin, color=ORANGE, ls="--", lw=1, label=f"allowed: -{margin:g} points")
        title = textwrap.fill(f"{name} {headline(entry['retention'])}", WIDEST)
    axis.axhline(0, color=GREY, lw=0.8)
    seams(axis, run)
    finish(axis, title, "step\n(light: over all looks of the run, dark: each look alone, 95 %)", "points")


def _reliability(axis: Any, run: RunView) -> None:
    name = next((n for n, t in run.last["tasks"].items() if t.get("reliability")), None)
    if name is None:
        axis.set_axis_off()
        return
    for colour, summary in ((GREY, run.first), (BLUE, run.last))[0 if run.first is not run.last else 1 :]:
        if bins := summary["tasks"].get(name, {}).get("reliability"):
            ece = summary["tasks"][name]["calibration"]["ece"]["value"]
            draw_reliability(axis, bins, colour, f"step {summary['step']}: ECE {ece:.3f}")
    finish(axis, f"Calibration on {name}: is 70 % sure 70 % right?", "confidence", "share right", "upper left")


def draw_reliability(axis: Any, bins: Sequence[Mapping[str, Any]], colour: str, label: str) -> None:
    """Accuracy against confidence with Wilson bands, and how many items each point stands for along the foot."""
    axis.plot([0, 1], [0, 1], color="black", lw=0.8, ls=":")
    x = [b["confidence"] for b in bins]
    error = [[b["accuracy"] - b["accuracy_low"] for b in bins], [b["accuracy_high"] - b["accuracy"] for b in bins]]
    axis.errorbar(
        x, [b["accuracy"] for b in bins], yerr=error, fmt="o-", ms=4, capsize=2, lw=1.2, color=colour, label=label
    )
    most = max(b["n"] for b in bins)
    axis.bar(
        [b["low"] for b in bins],
        [0.18 * b["n"] / most for b in bins],
        width=[b["high"] - b["low"] for b in bins],
        align="edge",
        color=colour,
        alpha=0.25,
    )
    for b in bins:
        if colour != GREY:
            axis.text(
                (b["low"] + b["high"]) / 2,
                0.18 * b["n"] / most + 0.01,
                str(b["n"]),
                ha="center",
                fontsize=6,
                color=colour,
            )
    axis.set_xlim(0, 1)
    axis.set_ylim(0, 1.02)


def reliability_figure(bins: Sequence[Mapping[str, Any]]) -> Any:
    """One reliability diagram, for W&B."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 4), dpi=120, layout="constrained")
    axis = figure.subplots()
    draw_reliability(axis, bins, BLUE, "")
    finish(axis, "Reliability", "confidence", "share right")
    return figure
