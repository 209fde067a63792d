"""The value of an evaluation that ended early: against all orders of a few items, and without bias where flips are few."""

from itertools import permutations

import numpy as np
import pytest

from eval_hooks.retention.orders import first_look
from eval_hooks.retention.strata import Change, change

ALLOWED = 0.1
Z = 1.2


def looked_at(x: np.ndarray, ends: list[int], sizes: np.ndarray) -> list[Change]:
    """Looks of one stratum at these numbers of items."""
    return [change([x[:end]], sizes) for end in ends]


def undecided(look: Change) -> bool:
    return abs(look.value + ALLOWED) < Z * look.se


def test_it_is_the_mean_first_look_over_all_orders_that_do_not_end_earlier() -> None:
    """Eight items of 40, three lost and one gained, looked at after 2, 5 and 8: 40,320 orders one by one."""
    items, ends, sizes = np.array([-1.0, -1, -1, 1, 0, 0, 0, 0]), [2, 5, 8], np.array([40])
    found = [looked_at(np.array(x), ends, sizes) for x in set(permutations(items.tolist()))]
    open_ = [looks[0].value for looks in found if all(map(undecided, looks[:-1]))]
    assert 0 < len(open_) < len(found), "some of the orders end earlier, some do not"
    by_chance = np.std(open_) / np.sqrt(1000)
    assert first_look(found[0], np.array([Z, Z]), ALLOWED) == pytest.approx(np.mean(open_), abs=4 * by_chance)


def test_a_first_look_is_left_as_it_is_and_bounds_never_near_leave_the_newest() -> None:
    looks = looked_at(np.array([-1.0, 0, 0, 0, 1, -1, 0, 0]), [4, 8], np.array([100]))
    assert first_look(looks[:1], np.array([]), ALLOWED) == looks[0].value
    assert first_look(looks, np.array([50.0]), ALLOWED) == pytest.approx(looks[1].value, abs=0.03)


def test_where_every_order_would_have_ended_earlier_those_nearest_to_going_on_count() -> None:
    looks = looked_at(np.array([-1.0] * 30), [10, 30], np.array([100]))
    assert first_look(looks, np.array([0.01]), ALLOWED) == -1.0


@pytest.mark.parametrize("lost", [0.0, 0.05, 0.3])
def test_it_has_no_bias_where_flips_are_few(lost: float) -> None:
    """2,000 samples of 150 from items that are lost or not, first looked at after 20; the plain estimate is off."""
    rng, ends, sizes = np.random.default_rng(1), [20, 50, 90, 150], np.array([100_000])
    plain, mended = np.empty(2000), np.empty(2000)
    for run in range(len(plain)):
        looks = looked_at(-(rng.uniform(size=150) < lost).astype(float), ends, sizes)
        k = next((k for k, look in enumerate(looks) if not undecided(look)), len(looks) - 1)
        plain[run], mended[run] = looks[k].value, first_look(looks[: k + 1], np.full(k, Z), ALLOWED)
    error = mended.std() / np.sqrt(len(mended))
    assert abs(mended.mean() + lost) < 4 * error + 1e-12
    if lost:
        assert abs(plain.mean() + lost) > 5 * error, "the plain one is far off, so this shows something"
