"""Two recipes, each run from several seeds: is one better than the other, for other seeds and other items too?"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eval_hooks.evaluations import RUNS
from eval_hooks.files import write_atomic, write_json

if TYPE_CHECKING:
    from eval_hooks.seeds.result import SeedComparison

OUT = Path("compare")
"""Where picture and numbers go unless told otherwise."""


def compare_seeds(
    seeds: Sequence[str],
    against: Sequence[str],
    *,
    tasks: Sequence[str] = (),
    out: Path = OUT,
    console: Any = None,
    root: Path = RUNS,
) -> "SeedComparison":
    """Print and draw the difference of recipe A's runs (`seeds`) and recipe B's (`against`); return the comparison.

    compare-seeds.png and compare-seeds.json are left in `out`. Raises EvalError for what `gather`, `compared` and
    `scores` refuse.
    """
    from rich.markup import escape

    from eval_hooks.seeds.groups import gather
    from eval_hooks.seeds.png import seeds_png
    from eval_hooks.seeds.result import compared
    from eval_hooks.seeds.screen import show
    from eval_hooks.visible import terminal

    result = compared(gather(seeds, against, root), tasks)
    console = console or terminal()
    show(result, console)
    write_atomic(out / "compare-seeds.png", seeds_png(result))
    write_json(out / "compare-seeds.json", result.as_dict())
    for word, file in (("picture", "compare-seeds.png"), ("numbers", "compare-seeds.json")):
        console.print(f"[dim]{word:8}[/dim]{escape(str(out / file))}", soft_wrap=True, highlight=False)
    return result
