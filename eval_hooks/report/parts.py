"""What every panel shares: titles, grids, the seams of a pipeline, a figure as file content."""

import io
from typing import Any

from eval_hooks.report.colours import GREY
from eval_hooks.report.view import RunView
from eval_hooks.visible import in_picture


def picture(figure: Any, kind: str, **how: Any) -> bytes:
    """A figure as file content."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind, **how)
    return buffer.getvalue()


def finish(axis: Any, title: str, x: str, y: str, legend: str = "best") -> None:
    """Title, axes, legend of a panel."""
    axis.set_title(in_picture(title), fontsize=10, loc="left", fontweight="bold")
    axis.set_xlabel(in_picture(x), fontsize=9)
    axis.set_ylabel(in_picture(y), fontsize=9)
    axis.tick_params(labelsize=8)
    axis.grid(alpha=0.25)
    axis.spines[["top", "right"]].set_visible(False)
    if axis.get_legend_handles_labels()[0]:
        axis.legend(fontsize=8, frameon=False, loc=legend)


def seams(axis: Any, run: RunView) -> None:
    """A line where one run of a pipeline ends and the next begins, with the next one's name."""
    for stage in run.stages:
        if stage["begin"]:
            axis.axvline(stage["begin"], color=GREY, ls=":", lw=1)
        name = in_picture(f" {stage['name']}")
        axis.text(stage["begin"], 1.0, name, transform=axis.get_xaxis_transform(), fontsize=7,
                  color=GREY, va="top")  # fmt: skip
