"""What a comparison says in sentences; the screen and the page say it alike."""

from collections.abc import Iterator

from eval_hooks.compare.pairs import Pair
from eval_hooks.compare.plane import starts
from eval_hooks.compare.result import Comparison, letter
from eval_hooks.report.words import adjusted, calibrated, noise, rise_over_run
from eval_hooks.results.text import points


def undecided(pair: Pair) -> str:
    """These two can't be told apart with n items, and how many would show a difference as large as the margin."""
    if pair.entry["margin"] is None:
        return (
            f"{pair.task}: A and {letter(pair.model)} can't be told apart with {pair.n:,} items: the change is "
            f"{points(pair.together)}"
        )
    flips = pair.entry["lost"] + pair.entry["gained"]
    margin = " (the margin)" if pair.entry["margin"] else ""
    level = f", over all {pair.pairs} comparisons" if pair.pairs > 1 else ""
    wanted = f"{pair.needed:,} are enough" if pair.needed <= pair.n else f"about n = {pair.needed:,} would be needed"
    return (
        f"{pair.task}: A and {letter(pair.model)} can't be told apart with {pair.n:,} items "
        f"({100 * flips / pair.n:.1f} % of them flip); {wanted} to show a difference of "
        f"{100 * pair.looked_for:.1f} points{margin}{level}"
    )


def sentences(result: Comparison) -> Iterator[str]:
    """What cannot be told apart."""
    for pair in result.pairs:
        if not pair.told_apart:
            yield undecided(pair)


def flips(result: Comparison) -> Iterator[str]:
    """What was forgotten and newly known beyond guessing, and the arithmetic's share, where they could be had."""
    for pair in result.pairs:
        if said := [text for text in (adjusted(pair.entry), noise(pair.entry)) if text]:
            yield f"{pair.task}: A -> {letter(pair.model)}: {'; '.join(said)}"


def calibrations(result: Comparison) -> Iterator[str]:
    """ECE of each model against A's, on tasks with options."""
    for pair in result.pairs:
        if "ece_rise" in pair.entry:
            before, after = (result.models[m].tasks()[pair.task]["calibration"]["ece"] for m in (0, pair.model))
            yield f"{pair.task}: A -> {letter(pair.model)}: {calibrated(before, after, rise_over_run(pair.entry))}"


def warnings(result: Comparison) -> Iterator[str]:
    """What is not as the reader might think."""
    for one in result.unpaired:
        yield f"{letter(one.model)} is not compared on {one.reason}"
    for task, each in starts(result.models, [point.model for point in result.points]).items():
        said = ", ".join(f"{letter(model)} {100 * accuracy:.1f} %" for model, accuracy in each.items())
        yield f"{task}: the plane shows changes since each model's own start, and they did not start alike: {said}"
    precisions = [str(model.summary.get("precision")) for model in result.models]
    if len(set(precisions)) > 1:
        said = ", ".join(f"{letter(i)} {precision}" for i, precision in enumerate(precisions))
        yield f"scored in different arithmetic: {said}"


def asides(result: Comparison) -> Iterator[str]:
    """What was left out, and why that is no fault."""
    alone = {name for model in result.models for name in model.tasks()} - set(result.tasks)
    if alone:
        yield f"not in A and another, so not compared: {', '.join(sorted(alone))}"
    for model, reason in result.left_out.items():
        yield f"not in the plane of target and retention: {result.named(model)} {reason}"
