"""The picture's last row: which subjects flipped, and what the model wrote before and after."""

import textwrap
from typing import Any

from eval_hooks.report.colours import BLUE, GREY, ORANGE
from eval_hooks.report.view import RunView, flips, samples
from eval_hooks.visible import in_picture

LOST, GAINED = ORANGE, BLUE
SUBJECTS, SAMPLES = 14, 4
"""How many are shown."""


def draw_flips(axis: Any, run: RunView) -> str:
    """Bars of lost and gained items, the subjects that changed most; return the panel's title."""
    found = next(((n, flips(t)) for n, t in run.last["tasks"].items() if t.get("by_subject") and t["retention"]), None)
    if found is None or not found[1]:
        axis.set_axis_off()
        return "No item flipped" if found else ""
    name, rows = found
    most = sorted(rows, key=lambda row: -abs(row[1]["gained"] - row[1]["lost"]))[:SUBJECTS]
    shown = [row for row in rows if row in most][::-1]
    axis.barh(range(len(shown)), [-entry["lost"] for _, entry in shown], color=LOST, label="lost")
    axis.barh(range(len(shown)), [entry["gained"] for _, entry in shown], color=GAINED, label="gained")
    axis.set_yticks(range(len(shown)), [in_picture(subject.replace("_", " ")) for subject, _ in shown])
    axis.axvline(0, color=GREY, lw=0.8)
    axis.xaxis.set_major_formatter(lambda value, _: f"{abs(value):g}")
    axis.xaxis.get_major_locator().set_params(integer=True)
    return f"Flips on {name}: {len(shown)} of {len(rows)} changed subjects"


def draw_samples(axis: Any, run: RunView) -> None:
    """A few prompts' ends, the right answer, and both answers, as text."""
    axis.set_axis_off()
    top = 1.0
    for before, after in samples(run)[:SAMPLES]:
        prompt = [line for line in after["prompt"].splitlines() if line.strip() and not line.startswith("<|im_start|>")]
        for text, colour in (
            ("… " + (prompt[-1] if prompt else ""), "black"),
            (f"right answer: {after['gold']}", GREY),
            (f"before: {before['output']}", GAINED if before["correct"] else LOST),
            (f"after:  {after['output']}", GAINED if after["correct"] else LOST),
        ):
            line = in_picture(textwrap.shorten(text, 74, placeholder=" …"))
            axis.text(0.0, top, line, fontsize=8, color=colour, va="top", family="monospace", transform=axis.transAxes)
            top -= 0.056
        top -= 0.03
