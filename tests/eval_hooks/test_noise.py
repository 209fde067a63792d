"""The noise floor: the closest items a second time, how many another pass may flip, and that no word rests on them."""

import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import poisson

from eval_hooks.estimate import Estimate
from eval_hooks.ranks import Job, other_ranks, shared_out
from eval_hooks.retention import retention
from eval_hooks.retention.noise import Noise, beyond, louder, measured, noise_of
from eval_hooks.retention.spending import Look
from eval_hooks.table import stamped
from tests.eval_hooks.tables import choices, random_choices, right_or_wrong


def test_how_many_another_pass_may_flip_by_hand() -> None:
    """None seen: 2^-5 = .03125 > .025 >= 2^-6, so 5; never more than are close; at alpha 0 all of those."""
    assert Noise(flips=0, twice=200, close=100).most(0.05) == 5
    assert Noise(flips=0, twice=200, close=3).most(0.05) == 3 and Noise(flips=0, twice=200, close=0).most(0.05) == 0
    assert Noise(flips=0, twice=200, close=50).most(0.0) == 50
    assert Noise(flips=3, twice=200, close=100).most(0.05) == 11
    assert Noise(flips=3, twice=200, close=100).most(0.001) > 11


@pytest.mark.parametrize("rate", [0.5, 3.0, 12.0])
def test_more_are_flipped_in_no_more_cases_than_promised(rate: float) -> None:
    """Summed over two Poisson counts of the same rate."""
    counts = np.arange(int(poisson.ppf(1 - 1e-9, rate)) + 1)
    most = np.array([Noise(flips=int(f), twice=999, close=999).most(0.05) for f in counts])
    assert poisson.pmf(counts, rate) @ poisson.sf(most, rate) <= 0.025


def close_pairs(n: int, gap: float) -> pa.Table:
    """Items of two options whose margins are gap, 2 gap, 3 gap, ..."""
    return choices([[0.0, -gap * (i + 1)] for i in range(n)], [0] * n)


def moved(table: pa.Table, by: float, asked: list[int]) -> pa.Table:
    """The same items with the right option's log-probability so much lower."""
    rows = [table.column("logp").to_pylist()[i] for i in asked]
    return choices([[row[0] - by, row[1]] for row in rows], [0] * len(asked))


def test_as_many_items_are_scored_twice_as_the_arithmetic_reaches() -> None:
    """1,000 items a thousandth apart. Moved by .05: 49 flip, 99 are within twice that, 200 were asked.

    Moved by .3 the first 200 show that 600 are within reach: 400 and 800 are asked. Moved by nothing: none is close.
    """
    table = close_pairs(1000, 0.001)
    for by, flips, twice, close in ((0.0505, 50, 200, 100), (0.3005, 300, 800, 600), (0.0, 0, 200, 0)):
        asked: list[int] = []

        def again(items: list[int], by: float = by, asked: list[int] = asked) -> pa.Table:
            asked.extend(items)
            return moved(table, by, items)

        found = measured(table, again)
        assert found.flips == pytest.approx(flips, abs=1) and found.close == pytest.approx(close, abs=2)
        assert found.twice == twice and sorted(asked) == list(range(twice))


def test_a_word_needs_more_items_than_the_arithmetic_may_flip() -> None:
    """8 lost, none gained of 100: dropped, but not of a base whose second scoring turned 4. In fp32 nothing changes."""
    before, after = right_or_wrong([1] * 100), right_or_wrong([0] * 8 + [1] * 92)
    noisy, exact = ({"flips": flips, "twice": 100, "close": close} for flips, close in ((4, 30), (0, 0)))
    words = [
        retention(table, after, 0.02, 0.5)
        for table in (before, stamped(before, 1.0, noisy), stamped(before, 1.0, exact))
    ]
    assert [entry["verdict"] for entry in words] == ["dropped", "undecided", "dropped"]
    assert [entry["noise_flips"] for entry in words] == [None, 4, 0]
    assert words[1]["delta"]["high"] == words[1]["delta_run"]["high"] == 0.0 and words[1]["noise_most"] == 12
    assert "the arithmetic's" in words[1]["delta"]["method"]
    assert words[0]["delta"] == words[2]["delta"] and words[1]["delta"]["low"] == words[0]["delta"]["low"]
    deep = right_or_wrong([0] * 13 + [1] * 87)
    assert retention(stamped(before, 1.0, noisy), deep, 0.02, 0.5)["verdict"] == "dropped"
    late = retention(stamped(before, 1.0, noisy), deep, 0.02, 0.5, look=Look(alpha=0.001, looks=50))
    assert late["verdict"] == "undecided" and late["noise_most"] > 13


def test_one_more_item_lost_never_makes_a_bound_better() -> None:
    change = Estimate(value=-0.1, low=-0.2, high=-0.05, n=100)
    highs = [beyond(change, lost, gained, 9).high for lost in range(20) for gained in (0, 9, 30)]
    assert highs == sorted(highs, reverse=True)
    assert beyond(change, 10, 50, 9) == change and beyond(change, 9, 50, 9).high == 0.0


def test_the_note_stays_with_the_table_and_the_louder_one_counts() -> None:
    table = random_choices(30)
    assert noise_of(table) is None and noise_of(stamped(table, 1.0)) is None
    noise = Noise(flips=2, twice=30, close=5)
    assert noise_of(stamped(table, 1.0, noise.as_dict()).take([3, 1])) == noise
    assert louder(None, noise.as_dict(), {"flips": 1, "twice": 30, "close": 30}) == noise and louder(None, None) is None


def test_on_the_next_ranks_every_job_is_still_done_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three ranks of four jobs, one after the other: turned by one, rank 0 does what rank 1 did."""
    jobs = [Job(cost=1, members=[i]) for i in range(4)]
    monkeypatch.setattr("eval_hooks.ranks.from_all", lambda found: found)
    shares: dict[bool, list[list[int]]] = {False: [], True: []}
    for rank in range(3):
        monkeypatch.setattr("eval_hooks.ranks.place", lambda rank=rank: (rank, 3))
        for turned in (False, True):
            done: list[int] = []

            def work(number: int, done: list[int] = done) -> list[int]:
                done.append(number)
                return [number]

            if turned:
                with other_ranks():
                    shared_out(jobs, work, lambda: None, lambda n: None)
            else:
                shared_out(jobs, work, lambda: None, lambda n: None)
            shares[turned].append(done)
    assert shares[True] == [*shares[False][1:], shares[False][0]]
    assert sorted(job for one in shares[True] for job in one) == [0, 1, 2, 3]
