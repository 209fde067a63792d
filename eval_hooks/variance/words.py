"""What the spread over seeds says in sentences."""

from collections.abc import Iterator

from eval_hooks.variance import Variance
from eval_hooks.variance.spread import BOUNDED, Spread

FEW_ITEMS = 30


def shown(one: Spread, value: float | None) -> str:
    """A value of the metric, in percent where it is a share; a dash where there is none."""
    if value is None:
        return "-"
    return f"{100 * value:.1f}" if one.unit in BOUNDED else f"{value:.{3 if abs(value) < 10 else 2}f}"


def unit(one: Spread) -> str:
    """What a difference is counted in."""
    return " points" if one.unit in BOUNDED else f" {one.unit}" if one.metric == "score" else ""


def between_seeds(one: Spread) -> str:
    """How far apart two more runs may be by their seeds alone, and how often they are further."""
    if one.smallest is None:
        return f"these {len(one.scores)} runs do not differ in any item, which says nothing of how far others would"
    if one.unit in BOUNDED and one.smallest >= 1:
        return f"with {len(one.scores)} runs that differ so much no difference of two more can be told from their seeds"
    return f"two more runs of this recipe differ by more than {shown(one, one.smallest)}{unit(one)} in 5 % of cases"


def at_chance(one: Spread) -> bool:
    """Whether the mean over runs is less than two standard errors above guessing, by items and seeds together."""
    if not one.chance or one.sigma.value is None:
        return False
    above = one.mu - one.chance if one.better == "up" else one.chance - one.mu
    error = ((one.half_width / 1.96) ** 2 + one.sigma.value**2 / len(one.scores)) ** 0.5
    return above <= 2 * error


def sentences(result: Variance) -> Iterator[str]:
    """What seeds alone do to each task's first metric, and which metric stands out most from it."""
    for task in result.tasks:
        of = result.of(task)
        yield f"{task} {of[0].metric}: {between_seeds(of[0])}"
        above = [(one.snr_above_chance.value, one.metric) for one in of if one.snr_above_chance.value is not None]
        signal, metric = max(above, default=(0.0, ""))
        if len(above) > 1 and signal > 0:
            yield f"{task}: {metric} stands out most from the seeds' noise, {signal:.1f} sigma above guessing"


def doubts(result: Variance) -> Iterator[str]:
    """What these runs cannot show."""
    for task in result.tasks:
        first = result.of(task)[0]
        if at_chance(first):
            yield f"{task}: {shown(first, first.mu)} cannot be told from guessing: of no use at this scale in this form"
        if first.n < FEW_ITEMS:
            yield f"{task}: {first.n} items are too few: under {FEW_ITEMS} one flip is a jump, and intervals are rough"
    for run in result.unchecked:
        yield f"{run}: no recipe.resolved.json, so that nothing but its seed differs is taken on trust"


def about_items(result: Variance) -> Iterator[str]:
    """Items that no model tells apart, and what leaving out the bad ones would do."""
    for task, items in result.items.items():
        accuracy = next((one for one in result.of(task) if one.metric == "accuracy"), None)
        text = (
            f"{task}: of {items.n:,} items {items.never} are never right, {items.always} always, {items.against} "
            "more often in the worse models"
        )
        if accuracy and items.mu_kept is not None and items.sigma_kept is not None and accuracy.sigma.value is not None:
            text += (
                f"; on the {items.kept} that discriminate: {100 * items.mu_kept:.1f} % and sigma "
                f"{100 * items.sigma_kept:.2f} (all: {100 * accuracy.mu:.1f} % and {100 * accuracy.sigma.value:.2f})"
            )
        yield text
