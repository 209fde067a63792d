"""What an item of lm-eval earned, by the metric that decides: a part of right, or a number that a mean is taken of.

A task says how a metric is made of its items. Of a mean the items' own values are their scores. A perplexity is
exp(-mean log p) and bits per byte -mean log2 p, so the score of an item is its negative log-probability, per word or
byte where it has several, which then are its weight: less is better, and its mean is the logarithm of the metric.
What is made in another way (F1, BLEU over a corpus) says nothing of one item.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite, log
from typing import Any

import numpy as np

from eval_hooks.results.schemas import SHARE, Better

NUMBER = "number"
"""Unit of a score that is no share and of which no more is known."""


@dataclass(frozen=True, kw_only=True)
class ItemScores:
    """Of each item, in order; None of what earned nothing that can be averaged."""

    values: tuple[float | None, ...]
    weights: tuple[float | None, ...]
    unit: str
    better: Better


Score = tuple[float | None, float | None]
"""(value, weight)."""


def item_scores(tasks: Sequence[Any], metric: str, found: Sequence[Any]) -> ItemScores:
    """The scores of items whose values by the metric are `found`, None where an item has none."""
    how = {getattr(task.aggregation().get(metric), "__name__", "mean") for task in tasks}
    better = directions(tasks, [metric])[metric]
    one = ITEM.get(how.pop()) if len(how) == 1 else None
    pairs = [one.score(value) if one and value is not None else (None, None) for value in found]
    values = tuple(value for value, _ in pairs)
    known = [value for value in values if value is not None]
    unit = one.unit(metric) if one and one.unit else SHARE if all(0 <= value <= 1 for value in known) else NUMBER
    return ItemScores(
        values=values,
        weights=tuple(weight for _, weight in pairs),
        unit=unit,
        better=one.better if one and one.better else better,
    )


def directions(tasks: Sequence[Any], names: Iterable[str]) -> dict[str, Better]:
    """Which way each metric is better, as the tasks say; up where they do not, as in lm-eval."""
    return {
        name: "up" if all(task.higher_is_better().get(name, True) is not False for task in tasks) else "down"
        for name in sorted(names)
    }


@dataclass(frozen=True, kw_only=True)
class _Item:
    """How an item's value becomes its score."""

    score: Callable[[Any], Score]
    unit: Callable[[str], str] | None = None
    """Of a metric by its name; None: a share where all values are."""
    better: Better | None = None
    """None: as the task says."""


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float | np.number) and isfinite(value) else None


def _plain(value: Any) -> Score:
    return _number(value), None


def _nats(value: Any) -> Score:
    found = _number(value)
    return None if found is None else -found, None


def _per(value: Any) -> Score:
    """Of (log-probability, how many words or bytes)."""
    total, count = (_number(part) for part in value)
    if total is None or count is None:
        return None, None
    return -total / max(count, 1.0), count


def _bits(value: Any) -> Score:
    found, count = _per(value)
    return None if found is None else found / log(2.0), count


def _named(metric: str) -> str:
    return {"word": "nats a word", "byte": "nats a byte"}.get(metric.partition("_")[0], "nats")


ITEM: Mapping[str, _Item] = {
    "mean": _Item(score=_plain),
    "nanmean": _Item(score=_plain),
    "perplexity": _Item(score=_nats, unit=lambda metric: "nats", better="down"),
    "weighted_perplexity": _Item(score=_per, unit=_named, better="down"),
    "bits_per_byte": _Item(score=_bits, unit=lambda metric: "bits a byte", better="down"),
}
"""lm-eval's aggregations by name, of those that say something of an item."""
