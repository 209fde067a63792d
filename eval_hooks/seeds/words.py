"""What a comparison over seeds says in sentences."""

from collections.abc import Iterator

from eval_hooks.seeds.result import SeedComparison, TaskResult

WHICH = {"A is better": "A is better than B", "B is better": "B is better than A"}


def sentences(result: SeedComparison) -> Iterator[str]:
    """The verdict of each task; where there is none, what would bring one."""
    for one in result.tasks:
        yield f"{one.task}: {_said(one)}"


def _said(one: TaskResult) -> str:
    ends = [100 * end for end in (one.adjusted.low, one.adjusted.high)]
    between = f"A less B is between {ends[0]:+.1f} and {ends[1]:+.1f} points"
    if one.verdict == "undecided":
        return f"undecided: {between}; {narrower(one)}"
    if one.verdict == "no difference":
        return f"no difference beyond the margin of {100 * one.margin:.1f} points: {between}"
    least, most = sorted(map(abs, ends))
    lower = ", lower being better here" if one.goal == "down" else ""
    return f"{WHICH[one.verdict]}, by {least:.1f} to {most:.1f} points{lower}"


def narrower(one: TaskResult) -> str:
    """Whether more seeds or more items would narrow the interval: the seeds' share of its squared half-width."""
    width = max(one.items[1] - one.items[0], 0.0) / 2
    share = one.seeds_half_width**2 / (one.seeds_half_width**2 + width**2)
    if share > 0.5:
        part, more, less = f"the seeds make {100 * share:.0f} %", "more runs of each", "more items"
    else:
        part, more, less = f"the items make {100 * (1 - share):.0f} %", "more items", "more runs"
    return f"{part} of its squared width, so {more} would narrow it, {less} hardly"


def warnings(result: SeedComparison) -> Iterator[str]:
    """What is not as the reader might think."""
    if result.groups.one_recipe:
        yield "A and B are one recipe: whatever differs here is chance, and `better` is said wrongly"
    for name in result.groups.unchecked:
        yield f"{name}: no recipe.resolved.json, so that nothing but its seed differs in its group is taken on trust"
    precisions = sorted({str(one.summary.get("precision")) for one in result.groups.all})
    if len(precisions) > 1:
        yield f"scored in different arithmetic: {', '.join(precisions)}"


def asides(result: SeedComparison) -> Iterator[str]:
    """How sure the verdicts are, and what was left out."""
    tasks = len(result.tasks)
    over = f" over the {tasks} tasks together" if tasks > 1 else ""
    yield (
        "would other seeds and other items of the same kind say so? A verdict `better` is wrong in at most 5 % of "
        f"comparisons{over}"
    )
    alone = {name for one in result.groups.all for name in one.tasks()} - {one.task for one in result.tasks}
    if alone:
        yield f"not compared: {', '.join(sorted(alone))}"
