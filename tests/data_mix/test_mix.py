"""Mixing by weight, in rows and in tokens; whole sources without weights; epochs over each."""

from collections import Counter
from random import Random

import pytest

from data_mix import DataError
from data_mix.mix import draw_order, epochs_over


def test_without_weights_every_row_comes_once() -> None:
    order = draw_order([3, 5], [None, None], [False, False], Random(0))
    assert sorted(order) == [(0, i) for i in range(3)] + [(1, i) for i in range(5)]
    assert order != sorted(order)


def test_shares_hold_within_one_row_at_every_point() -> None:
    """Weights 3 and 1: after k rows the first source has 0.75 k, give or take one."""
    order = draw_order([300, 100], [3.0, 1.0], [False, False], Random(0))
    first = 0
    for k, (source, _) in enumerate(order, 1):
        first += source == 0
        assert abs(first - 0.75 * k) <= 1.0
    assert epochs_over(order, [300, 100]) == pytest.approx([1.0, 1.0], abs=0.02)


def test_the_mix_ends_when_a_source_is_used_up_and_repeats_the_others() -> None:
    """10 rows at a half each against 2 that repeat: about 20 rows, ten times over the two."""
    order = draw_order([10, 2], [1.0, 1.0], [False, True], Random(0))
    counts = Counter(source for source, _ in order)
    assert counts[0] == 10
    assert epochs_over(order, [10, 2])[1] == pytest.approx(5.0, abs=0.5)
    drawn = [row for source, row in order if source == 1]
    assert all(sorted(drawn[i : i + 2]) == [0, 1] for i in range(0, len(drawn) - 1, 2))


def test_token_weights_share_tokens_not_rows() -> None:
    """Equal weights, rows of 10 and of 40 tokens: four short rows for each long one."""
    order = draw_order([400, 100], [1.0, 1.0], [False, False], Random(0), tokens_per_row=[10.0, 40.0])
    counts = Counter(source for source, _ in order)
    assert counts[0] / counts[1] == pytest.approx(4.0, rel=0.05)


def test_the_same_seed_gives_the_same_order() -> None:
    first, again, other = (draw_order([50, 50], [1.0, 2.0], [True, False], Random(seed)) for seed in (1, 1, 2))
    assert first == again != other


def test_weights_for_some_and_endless_mixes_are_refused() -> None:
    with pytest.raises(DataError, match="1 of 2 sources have a weight"):
        draw_order([1, 1], [1.0, None], [False, False], Random(0))
    with pytest.raises(DataError, match="never end"):
        draw_order([1, 1], [1.0, 1.0], [True, True], Random(0))
