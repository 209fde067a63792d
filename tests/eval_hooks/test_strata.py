"""The paired change from a part of the items: hand numbers, limits, no bias, and no more wrong decisions than allowed."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval_hooks import EvalError
from eval_hooks.retention.looks import Decision, Seen, decide
from eval_hooks.retention.strata import (
    allocate,
    assumed_rates,
    change,
    learned_rates,
    order,
    strata,
)
from tests.eval_hooks import old_rules

WAVES = (400, 400, 400, 400, 600, 800, 1000, 1500, 2500, 14_042)
N = 14_042


def lost(n: int, minus: int, plus: int = 0) -> np.ndarray:
    """Changes of n items."""
    return np.array([-1.0] * minus + [1.0] * plus + [0.0] * (n - minus - plus))


def test_by_hand() -> None:
    """D = -.05. Lost .107843 and .048387, gained .009804 and .016129, s^2 .108035 and .063476: variance .001139, se .033744.

    .0625 x .5 x .108035 / 50 + .5625 x .9 x .063476 / 30 = .00006752 + .00107116.
    """
    found = change([lost(50, 5), lost(30, 1)], np.array([100, 300]))
    assert found.value == pytest.approx(-0.05) and found.se == pytest.approx(0.033744, abs=1e-6)
    assert (found.n, found.lost.tolist(), found.gained.tolist()) == (80, [5, 1], [0, 0])


def test_all_items_scored_give_the_plain_mean_exactly_and_no_width() -> None:
    rng = np.random.default_rng(0)
    x = [rng.choice([-1.0, 0.0, 1.0], size=n) for n in (20, 35, 7)]
    found = change(x, np.array([20, 35, 7]))
    assert found.value == pytest.approx(np.concatenate(x).mean()) and found.se == 0.0


def test_one_stratum_is_simple_random_sampling_with_its_correction() -> None:
    """40 of 200, 4 lost: variance (1 - .2) (5 / 41 - (4 / 41)^2) / 40; plain (1 - .2) (.1 - .01) / 39."""
    found = change([lost(40, 4)], np.array([200]))
    assert found.value == pytest.approx(-0.1)
    assert found.se**2 == pytest.approx(0.8 * (5 / 41 - (4 / 41) ** 2) / 40)
    assert found.plain_variance(found.scored) == pytest.approx(0.8 * 0.09 / 39)


def test_items_that_all_flipped_do_not_say_what_the_others_do() -> None:
    """5 of 100 scored, all lost: by the rule of before the standard error was 0, and the interval [-1, -1]."""
    found = change([lost(5, 5)], np.array([100]))
    assert old_rules.se_of_change(found.lost, found.gained, found.scored, found.sizes) == 0
    assert found.se == pytest.approx(np.sqrt(0.95 * (1 - (5 / 6) ** 2) / 5))
    for minus, plus in ((5, 0), (0, 5), (0, 0), (3, 2)):
        assert change([lost(5, minus, plus), lost(1, 1)], np.array([100, 2])).se > 0


def test_a_stratum_without_a_scored_item_is_an_error() -> None:
    with pytest.raises(EvalError, match="stratum 1 has no scored item"):
        change([lost(3, 1), lost(0, 0)], np.array([3, 5]))


def test_strata_are_tenths_by_margin_and_fifths_of_few_items() -> None:
    margin = np.arange(400)[::-1] / 7
    assert np.bincount(strata(margin)).tolist() == [40] * 10 and strata(margin)[-1] == 0
    assert np.bincount(strata(margin[:60])).tolist() == [12] * 5
    assert strata(np.zeros(200)).tolist() == sorted(strata(np.zeros(200)).tolist())  # ties: by item order


@given(st.lists(st.integers(1, 300), min_size=1, max_size=10), st.integers(1, 900), st.integers(0, 3), st.randoms())
def test_waves_never_take_more_than_there_is_and_end_with_everything(
    sizes: list[int], wave: int, before: int, random: object
) -> None:
    there, scored = np.array(sizes), np.zeros(len(sizes), dtype=int)
    for _ in range(before):
        scored = scored + allocate(there, scored, assumed_rates(len(there)), wave)
    more = allocate(there, scored, assumed_rates(len(there)), wave)
    assert (more >= 0).all() and (scored + more <= there).all()
    assert more.sum() >= min(wave, there.sum() - scored.sum())
    assert before or (more >= np.ceil(0.02 * there)).all()


def test_shares_are_neymans_where_nothing_binds() -> None:
    """Equal strata, rates .25 and .01: shares as .5 to .1."""
    sizes = np.array([1000, 1000])
    assert allocate(sizes, np.array([0, 0]), np.array([0.25, 0.01]), 300).tolist() == [250, 50]
    assert allocate(sizes, np.array([250, 50]), np.array([0.01, 0.01]), 100).tolist() == [0, 100]


def test_rates_are_learned_but_never_under_the_floor() -> None:
    assert learned_rates(np.array([9, 0]), np.array([99, 199])).tolist() == [0.095, 0.01]


FLIPS = {  # share lost, share gained, of each tenth by margin
    "unharmed": ([0.0] * 10, [0.0] * 10),
    "light": ([0.17, 0.06, 0.015, *[0.0] * 7], [0.16, 0.054, 0.014, *[0.0] * 7]),
    "moderate": ([0.30, 0.16, 0.10, 0.06, 0.04, 0.02, *[0.01] * 4], [0.14, 0.08, 0.05, 0.03, *[0.0] * 6]),
    "damaged": ([0.30, 0.25, 0.2, 0.15, 0.1, 0.1, 0.05, 0.05, 0.05, 0.05], [0.1, 0.05, *[0.0] * 8]),
    "adversarial": ([0.0] * 9 + [0.12], [0.0] * 10),
}


def table(name: str, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """(changes (N,), stratum (N,)) of a whole bank."""
    stratum = np.sort(np.arange(N) * 10 // N)
    down, up = (np.array(shares)[stratum] for shares in FLIPS[name])
    u = rng.random(N)
    return np.where(u < down, -1.0, np.where(u > 1 - up, 1.0, 0.0)), stratum


def waves(
    x: np.ndarray, stratum: np.ndarray, seed: int, plan: Sequence[int] = WAVES
) -> list[tuple[list[np.ndarray], np.ndarray]]:
    """What is known after each wave: changes by stratum."""
    drawn, sizes = order(stratum, seed), np.bincount(stratum)
    scored, rates, out = np.zeros(len(sizes), dtype=int), assumed_rates(len(sizes)), []
    for wave in plan:
        scored = scored + allocate(sizes, scored, rates, wave)
        out.append(([x[items[:n]] for items, n in zip(drawn, scored, strict=True)], sizes))
    return out


def stopped(
    looks: Sequence[tuple[list[np.ndarray], np.ndarray]], allowed: float, alpha: float = 0.05
) -> tuple[Seen, Decision]:
    """What was seen up to the look that decides, or the last one before everything is scored."""
    seen = Seen([1 / len(looks)] * len(looks))
    for by_stratum, sizes in looks:
        seen.add(change(by_stratum, sizes))
        if (decision := decide(seen.interval(alpha), allowed)) != "undecided":
            break
    return seen, decision


@pytest.mark.parametrize("name", FLIPS)
def test_the_estimate_is_unbiased_wherever_the_flips_are(name: str) -> None:
    """Over 600 draws from one table the mean of the first wave's estimate is the truth, within 3 standard errors."""
    x, stratum = table(name, np.random.default_rng(1))
    sizes = np.bincount(stratum)
    n = allocate(sizes, np.zeros(10, dtype=int), assumed_rates(10), WAVES[0])
    rng, found = np.random.default_rng(2), []
    groups = [x[stratum == h] for h in range(10)]
    for _ in range(600):
        found.append(change([rng.choice(g, k, replace=False) for g, k in zip(groups, n, strict=True)], sizes).value)
    assert abs(np.mean(found) - x.mean()) <= 3 * np.std(found) / np.sqrt(600) + 1e-12


@pytest.mark.parametrize("name", FLIPS)
def test_no_more_wrong_decisions_than_alpha_though_looked_at_after_every_wave(name: str) -> None:
    """The true loss is exactly what is allowed: whatever is decided before everything is scored is wrong.

    400 runs, alpha 5 %: at most 5 % + 3 binomial standard errors. And the interval at which each run stops covers.
    """
    rng = np.random.default_rng(3)
    x, stratum = table(name, rng)
    truth = x.mean()
    wrong = covered = 0
    for seed in range(400):
        seen, decision = stopped(waves(x, stratum, seed)[:-1], -truth)
        wrong += decision != "undecided"
        low, high = seen.interval(0.05)
        covered += low <= truth <= high
    band = 0.05 + 3 * np.sqrt(0.05 * 0.95 / 400)
    assert wrong / 400 <= band, wrong
    assert covered / 400 >= 1 - band, covered


def test_a_light_tuning_is_decided_from_fewer_items_than_a_plain_draw_needs() -> None:
    """A margin of 1 point, true change near 0, looked at every 200 items: median items until it is decided."""
    x, stratum = table("light", np.random.default_rng(4))

    def needed(groups: np.ndarray) -> float:
        each = [stopped(waves(x, groups, seed, [200] * 40), 0.01)[0].looks[-1].n for seed in range(30)]
        return float(np.median(each))

    assert needed(stratum) * 1.3 < needed(np.zeros(N, dtype=int))


def test_an_estimate_without_the_weights_is_caught_by_the_adversarial_table() -> None:
    """A mutant: the plain mean of the scored items, which look little at the last tenth. Over 60 draws it is off."""
    x, stratum = table("adversarial", np.random.default_rng(5))
    drawn = [waves(x, stratum, seed)[2] for seed in range(60)]
    for estimate, right in (
        (lambda by, sizes: change(by, sizes).value, True),
        (lambda by, sizes: np.concatenate(by).mean(), False),
    ):
        found = np.array([estimate(by, sizes) for by, sizes in drawn])
        assert (abs(found.mean() - x.mean()) < 3 * found.std() / np.sqrt(60)) == right


def test_samples_are_nested_and_the_same_at_every_checkpoint() -> None:
    stratum = strata(np.random.default_rng(0).random(500))
    again = order(stratum, 7)
    assert all((a == b).all() for a, b in zip(order(stratum, 7), again, strict=True))
    assert sorted(np.concatenate(again).tolist()) == list(range(500))
    assert any((a != b).any() for a, b in zip(order(stratum, 8), again, strict=True))
