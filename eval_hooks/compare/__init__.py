"""Evaluations side by side, item by item: the same questions asked of all, or no comparison."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eval_hooks.errors import EvalError
from eval_hooks.evaluations import find
from eval_hooks.files import write_atomic, write_json

if TYPE_CHECKING:
    from eval_hooks.compare.result import Comparison

OUT = Path("compare")
"""Where picture, page and numbers go unless told otherwise."""


def compare(
    names: Sequence[str],
    *,
    base: str | None = None,
    tasks: Sequence[str] = (),
    out: Path = OUT,
    console: Any = None,
    fail_on: Sequence[str] = (),
) -> "Comparison":
    """Print how models differ from the first (or from `base`) on every task, and draw it.

    Returns the comparison, with its decision where there are words to `fail_on`. compare.png, compare.html and
    compare.json are left in `out`. Of two models, each shared task must be paired; among
    more, what cannot be is named and the rest is compared. Raises EvalError for fewer than two models, a name without
    an evaluation, no shared task, and other prompts or items where nothing is left to pair.
    """
    from rich.markup import escape

    from eval_hooks.compare.decision import decided
    from eval_hooks.compare.png import compare_png
    from eval_hooks.compare.result import compared
    from eval_hooks.compare.screen import show, show_decision
    from eval_hooks.visible import terminal

    ordered = [base, *(name for name in names if name != base)] if base else list(names)
    if len(ordered) < 2:
        raise EvalError(f"{' '.join(['compare', *ordered])}: name two or more runs, RUN_DIR:STEP or evaluation folders")
    result = compared([find(name) for name in ordered], tasks)
    shared = [one for one in result.unpaired if one.scored and one.task in result.models[one.model].tasks()]
    if not result.pairs:
        shared = list(result.unpaired)
    if shared and (len(ordered) == 2 or not result.pairs):
        others = f"; --task {result.pairs[0].task} compares what is left" if result.pairs else ""
        raise EvalError("\n".join(one.reason for one in shared) + others)
    console = console or terminal()
    show(result, console)
    png = compare_png(result)
    write_atomic(out / "compare.png", png)
    write_atomic(out / "compare.html", _page(result, png))
    if fail_on:
        result = replace(result, decision=decided(result, fail_on, tasks))
    write_json(out / "compare.json", result.as_dict())
    console.print(f"[dim]picture[/dim] {escape(str(out / 'compare.png'))}", soft_wrap=True, highlight=False)
    console.print(f"[dim]page[/dim]    {escape(str(out / 'compare.html'))}", soft_wrap=True, highlight=False)
    if result.decision:
        show_decision(result.decision, console)
    return result


def _page(result: "Comparison", png: bytes) -> bytes:
    from eval_hooks.compare.result import letter
    from eval_hooks.compare.words import asides, calibrations, flips, sentences, warnings
    from eval_hooks.report import words
    from eval_hooks.report.page import inside, render
    from eval_hooks.results import text

    said = [one for part in (sentences, flips, calibrations, warnings, asides) for one in part(result)]
    return render(
        "compare.html.j2", result=result, picture=inside(png), words=words, text=text, letter=letter, said=said
    )
