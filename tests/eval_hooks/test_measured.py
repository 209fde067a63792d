"""Waves over flips that a real model made on real items: MMLU before and after training, and the same without order."""

import numpy as np
import pytest

from eval_hooks.retention.strata import margins, strata
from eval_hooks.waves import wave_sizes
from tests.eval_hooks.measured import measured
from tests.eval_hooks.test_strata import stopped, waves

RUNS = 300


def flips(name: str) -> tuple[np.ndarray, np.ndarray]:
    """(changes (N,), stratum (N,)); `scattered` are the light tuning's flips, dealt to items whatever their margin."""
    before, x = measured("light" if name == "scattered" else name)
    if name == "scattered":
        x = np.random.default_rng(0).permutation(x)
    return x, strata(margins(before))


@pytest.mark.parametrize("name", ["again", "light", "damaged", "scattered"])
def test_decisions_are_wrong_no_more_often_than_alpha_and_intervals_cover(name: str) -> None:
    """The loss allowed is the true one, so that whatever is decided before everything is scored is wrong.

    300 orders, looked at after every wave, alpha 5 %: at most 5 % + 3 binomial standard errors.
    """
    x, stratum = flips(name)
    truth = x.mean()
    wrong = covered = 0
    for seed in range(RUNS):
        seen, decision = stopped(waves(x, stratum, seed, wave_sizes(len(x)))[:-1], -truth)
        wrong += decision != "undecided"
        low, high = seen.interval(0.05)
        covered += low <= truth <= high
    band = 0.05 + 3 * np.sqrt(0.05 * 0.95 / RUNS)
    assert wrong / RUNS <= band, wrong
    assert covered / RUNS >= 1 - band, covered


def test_a_margin_of_a_point_is_decided_from_a_fraction_of_the_items() -> None:
    """The light tuning, and the flips without order: the first needs fewer, since margins say where to look."""
    needed = {}
    for name in ("light", "scattered"):
        x, stratum = flips(name)
        plan = wave_sizes(len(x))
        counts = [stopped(waves(x, stratum, seed, plan)[:-1], 0.01)[0].looks[-1].n for seed in range(60)]
        needed[name] = np.median(counts)
    assert needed["light"] < needed["scattered"]
