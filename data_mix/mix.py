"""Which rows of several sources are trained on, and how they lie in the mix: pure numbers.

A trainer takes the mix in an order of its own: as a rule each epoch shuffles it anew, by the run's seed, so that shares
hold over the whole mix and on average over a batch, but not within one row throughout. With
`train.train_sampling_strategy: sequential` (rlvr: `train.shuffle_dataset: false`) rows are trained as they lie here,
every epoch alike.
"""

from collections.abc import Sequence
from random import Random

from data_mix import DataError


def draw_order(
    sizes: Sequence[int],
    weights: Sequence[float | None],
    repeats: Sequence[bool],
    rng: Random,
    tokens_per_row: Sequence[float] | None = None,
) -> list[tuple[int, int]]:
    """(source, row) as they lie in the mix.

    Without weights every source is used whole, all shuffled together. With weights the next row comes from the source
    that is furthest behind its share (so shares hold within one row throughout); within a source rows are shuffled, and
    again each time round. The mix ends when a source without `repeat` is used up. With `tokens_per_row` (mean tokens of
    a row, per source) shares are of tokens. Raises DataError where some sources have a weight and others none, or where
    all repeat for ever.
    """
    given = [weight for weight in weights if weight is not None]
    if not given:
        order = [(source, row) for source, size in enumerate(sizes) for row in range(size)]
        rng.shuffle(order)
        return order
    if len(given) < len(weights):
        raise DataError(
            f"data.train: {len(given)} of {len(weights)} sources have a weight; give all of them one, or none"
        )
    if all(repeats):
        raise DataError(
            "data.train: every source has repeat: true, so the mix would never end; leave it out for one of them"
        )
    return _weighted(sizes, given, repeats, rng, tokens_per_row or [1.0] * len(sizes))


def _weighted(
    sizes: Sequence[int], weights: Sequence[float], repeats: Sequence[bool], rng: Random, cost: Sequence[float]
) -> list[tuple[int, int]]:
    total = sum(weights)
    shares = [weight / total for weight in weights]
    bags: list[list[int]] = [rng.sample(range(size), size) for size in sizes]
    used = [0.0] * len(sizes)
    order: list[tuple[int, int]] = []
    while True:
        source = max(range(len(sizes)), key=lambda i: shares[i] * (sum(used) + cost[i]) - used[i])
        if not bags[source]:
            if not repeats[source]:
                return order
            bags[source] = rng.sample(range(sizes[source]), sizes[source])
        order.append((source, bags[source].pop()))
        used[source] += cost[source]


def epochs_over(order: Sequence[tuple[int, int]], sizes: Sequence[int]) -> list[float]:
    """How often each source is gone over by the whole order."""
    drawn = [0] * len(sizes)
    for source, _ in order:
        drawn[source] += 1
    return [n / size for n, size in zip(drawn, sizes, strict=True)]
