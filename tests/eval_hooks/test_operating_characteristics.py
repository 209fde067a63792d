"""How often the judge is wrong, on the smaller of the benchmark's tables; the rule of before must fail where it is known to.

All of them: python -m tests.benchmarks.operating_characteristics.
"""

import numpy as np
import pytest

from eval_hooks.retention import verdict
from eval_hooks.retention.interval import change_interval, paired_change
from tests.benchmarks import (
    calibration_words,
    copied_items,
    few_flips,
    field_words,
    new_subjects,
    seed_spread,
    two_recipes,
    whole_runs,
)
from tests.benchmarks.cells import Cell
from tests.benchmarks.made_tables import Law, all_counts, flipping, table
from tests.benchmarks.operating_characteristics import PAGE, TABLES, on_page, with_table
from tests.eval_hooks import old_rules


def test_the_words_keep_their_rates_where_few_items_flip() -> None:
    """100 and 570 items: covered in 94.5 % at least, false `kept` and `dropped` in 2.7 % at most, at higher levels too."""
    cells = list(few_flips.cells((100, 570)))
    assert len(cells) > 200 and not [cell for cell in cells if cell.trouble]
    assert sum(cell.old_fails for cell in cells) == 9


@pytest.mark.parametrize(
    ("law", "margin", "before"),
    [(few_flips.NAMED[0], 0.01, 0.076), (few_flips.NAMED[1], 0.02, 0.089), (few_flips.NAMED[2], 0.005, 0.105)],
)
def test_the_bootstrap_said_kept_of_a_loss_of_the_margin_too_often(law: Law, margin: float, before: float) -> None:
    assert few_flips.judged_before(law).kept[margin] == pytest.approx(before, abs=0.001)
    assert few_flips.judged_before(law).covered < 0.945
    assert few_flips.judged(law).kept[margin] <= 0.027


@pytest.mark.parametrize(
    ("n", "lost", "gained", "old", "new"),
    [(570, 7, 1, "dropped", "undecided"), (570, 4, 0, "dropped", "kept"), (160, 0, 0, "undecided", "undecided"), (160, 1, 0, "kept", "undecided")],
)  # fmt: skip
def test_words_of_single_counts_then_and_now(n: int, lost: int, gained: int, old: str, new: str) -> None:
    """At a margin of 2 points, by the very rule of before."""
    before, after = np.arange(n) >= gained, np.arange(n) < n - lost
    assert verdict(old_rules.delta_estimate(before, after), 0.02) == old
    assert verdict(paired_change(lost, gained, n), 0.02) == new


def test_the_page_holds_the_table_that_the_benchmark_prints() -> None:
    """Its rows of 100 and 570 items; the benchmark compares the rest."""
    page, made = on_page(PAGE.read_text("utf-8"), "few flips").splitlines(), few_flips.summary((100, 570)).splitlines()
    assert page[: len(made)] == made and len(page) == 2 + len(few_flips.SIZES) * len(few_flips.FLIPS)


@pytest.mark.parametrize("name", TABLES)
def test_every_table_has_its_place_on_the_page(name: str) -> None:
    assert len(on_page(PAGE.read_text("utf-8"), name).splitlines()) > 2


def test_a_run_keeps_the_promise_that_is_made_of_one_look() -> None:
    """570 items: no false word in 10 looks, no false action in 20, beyond the promise; each look for itself broke both."""
    cells = list(whole_runs.cells((570,)))
    assert len(cells) == 23 and not [cell for cell in cells if cell.trouble]
    assert sum(cell.old_fails for cell in cells) == 19
    first = next(cell for cell in cells if cell.case.startswith("n 570, 5 %") and "no change" in cell.case)
    assert first.old == pytest.approx(0.198, abs=0.001) and first.rate < 0.015


def test_chances_over_looks_by_hand() -> None:
    """Two looks of .1 and .2: 1 - .9 * .8. In a row twice of .5, .5, .5: 1/4 + 1/8."""
    assert whole_runs.ever([0.1, 0.2]) == pytest.approx(0.28)
    assert whole_runs.ever_in_a_row([0.5, 0.5, 0.5], 2) == pytest.approx(0.375)
    assert whole_runs.ever_in_a_row([0.1, 0.2], 1) == pytest.approx(0.28)


def test_new_subjects_are_covered_where_whole_ones_resampled_did_not() -> None:
    """A quarter of the benchmark's draws; 13 subjects of unlike sizes and 5."""
    banks = {name: new_subjects.BANKS[name] for name in ("57 as in MMLU", "13 of 5 to 118", "5 of 100")}
    cells = list(new_subjects.cells(banks, draws=5000))
    assert len(cells) == 27 and not [cell for cell in cells if cell.trouble]
    assert sum(cell.old_fails for cell in cells) == 6


def test_copies_make_no_interval_narrower() -> None:
    """A quarter of the benchmark's draws: covered, and `dropped` of no loss, where each copy was an item."""
    cells = list(copied_items.cells(draws=5000, tables=100))
    assert len(cells) == 22 and not [cell for cell in cells if cell.trouble]
    assert sum(cell.old_fails for cell in cells) >= 16


def test_forgetting_beyond_guessing_is_covered() -> None:
    """100 items, 11 laws, 3 numbers of options, 20,000 draws each; the page has the rest."""
    cells = list(field_words.forgetting_cells((100,)))
    assert len(cells) == 66 and not [cell for cell in cells if cell.trouble]
    page, made = on_page(PAGE.read_text("utf-8"), "forgetting"), field_words.forgetting_summary((100,))
    assert page.startswith(made) and len(page.splitlines()) == 2 + len(field_words.SIZES) * len(field_words.OPTIONS)


def test_words_hold_beyond_the_arithmetic_and_over_a_comparison() -> None:
    """The interval alone says `dropped` of the same weights in 96 %; ten pairs, each at 95 %, say something in 27 %."""
    cells = [*field_words.noise_cells((570,)), *field_words.comparison_cells((100, 570))]
    assert not [cell for cell in cells if cell.trouble] and sum(cell.old_fails for cell in cells) == 2 + 4
    assert field_words.false_word(570, 10)[0] == pytest.approx(0.957, abs=0.001)
    assert field_words.any_false(flipping(570, 0.05, 0.0), 10, 0.05)[0] == pytest.approx(0.266, abs=0.001)
    assert on_page(PAGE.read_text("utf-8"), "noise").startswith(field_words.noise_summary((570,)))
    assert on_page(PAGE.read_text("utf-8"), "comparisons") == field_words.comparison_summary()


def test_the_spread_over_seeds_keeps_its_rates_and_the_page_says_so() -> None:
    """Two and three runs: sigma has an interval that covers, and 5 % of pairs pass the difference shown."""
    cells = list(seed_spread.cells((2, 3), 5000))
    assert len(cells) == 96 and not [cell for cell in cells if cell.trouble]
    assert sum(cell.old_fails for cell in cells) == 28
    page = on_page(PAGE.read_text("utf-8"), "seed spread").splitlines()
    assert page[:3] == seed_spread.summary((2,)).splitlines() and len(page) == 2 + len(seed_spread.RUNS)


def test_one_run_of_each_recipe_says_better_by_chance_and_three_do_not() -> None:
    """570 items, 3 runs each: with seeds of 2 points, one run calls one of two equal recipes better in half of cases."""
    cells = list(two_recipes.cells((570,), ((3, 3),), 600))
    assert len(cells) == 35 and not [cell for cell in cells if cell.trouble]
    assert sum(cell.old_fails for cell in cells) == 8
    worst = max(cell.old for cell in cells if cell.what == "false `better`" and cell.old is not None)
    assert worst > 0.5
    page = on_page(PAGE.read_text("utf-8"), "two recipes").splitlines()
    assert len(page) == 2 + len(two_recipes.SIZES) * (3 * len(two_recipes.SEEDS) + 1)


def test_a_table_is_put_in_its_place_and_nothing_else_moves() -> None:
    empty = "a\n<!-- few flips -->\n<!-- end of few flips -->\nb\n"
    full = with_table(empty, "few flips", "| x |")
    assert full == "a\n<!-- few flips -->\n| x |\n<!-- end of few flips -->\nb\n"
    assert on_page(full, "few flips") == "| x |" and on_page(empty, "few flips") == ""
    assert with_table(full, "few flips", "| y |") == full.replace("x", "y")
    with pytest.raises(ValueError, match="no place"):
        with_table(empty, "no such part", "| x |")


def test_a_cell_is_out_of_its_bound_or_shows_nothing() -> None:
    """Drawn rates may be off by four standard errors, summed ones by none."""
    how = {"part": "1", "case": "c", "what": "w", "bound": 0.027}
    assert Cell(**how, rate=0.028).trouble == "out of its bound" and not Cell(**how, rate=0.027).trouble
    assert not Cell(**how, rate=0.028, error=0.001).trouble and Cell(**how, rate=0.032, error=0.001).trouble
    assert not Cell(**how, rate=0.028, side="at least").trouble and Cell(**how, rate=0.026, side="at least").trouble
    assert "shows nothing" in Cell(**how, rate=0.0, old=0.0, old_fails=True).trouble
    assert not Cell(**how, rate=0.0, old=0.05, old_fails=True).trouble


def test_all_counts_of_a_law_by_hand_and_as_drawn() -> None:
    """2 items, lost .1, gained .2: (0, 0) .49, (1, 0) .14, (0, 1) .28, (2, 0) .01, (1, 1) .04, (0, 2) .04."""
    found = all_counts(Law(n=2, lost=0.1, gained=0.2))
    by_counts = dict(zip(zip(found.lost.astype(int), found.gained.astype(int), strict=True), found.p, strict=True))
    assert by_counts == pytest.approx(
        {(0, 0): 0.49, (1, 0): 0.14, (0, 1): 0.28, (2, 0): 0.01, (1, 1): 0.04, (0, 2): 0.04}
    )
    law = flipping(570, 0.2, -0.02)
    assert all_counts(law).p.sum() == pytest.approx(1, abs=1e-6)
    rng = np.random.default_rng(0)
    before, after = (np.array(side) for side in zip(*(table(law, rng) for _ in range(400)), strict=True))
    assert (before & ~after).sum(axis=1).mean() == pytest.approx(570 * 0.11, abs=4 * np.sqrt(570 * 0.11 / 400))
    assert (~before & after).sum(axis=1).mean() == pytest.approx(570 * 0.09, abs=4 * np.sqrt(570 * 0.09 / 400))


def test_the_old_rule_of_counts_is_the_bootstrap_of_their_items() -> None:
    """10,000 resamples are a draw, so an end may be an item off; and none flipped is the Wilson bound in both."""
    counts = [(0, 0), (1, 0), (7, 1), (4, 0), (0, 9), (30, 34)]
    lost, gained = (np.array(side, dtype=float) for side in zip(*counts, strict=True))
    low, high = old_rules.change_interval(lost, gained, 570)
    for i, (b, c) in enumerate(counts):
        drawn = old_rules.delta_estimate(np.arange(570) >= c, np.arange(570) < 570 - b)
        assert (drawn.low, drawn.high) == pytest.approx((low[i], high[i]), abs=1.001 / 570 if b + c else 1e-12)


def test_rates_are_those_of_the_words_that_are_said() -> None:
    """Verdict by verdict over 10 items at a margin of 2 points."""
    law = flipping(10, 0.5, 0.1)
    counts = all_counts(law)
    words = [verdict(paired_change(int(b), int(c), 10), 0.02) for b, c in zip(counts.lost, counts.gained, strict=True)]
    found = few_flips.rates(law, counts, change_interval(counts.lost, counts.gained, 10))
    said = {word: counts.p[np.array(words) == word].sum() for word in set(words)}
    assert found.dropped == pytest.approx(said.get("dropped", 0.0))
    assert found.kept[0.02] == pytest.approx(said.get("kept", 0.0) + said.get("gained", 0.0))


def test_words_of_calibration_keep_their_rates() -> None:
    """100 items, whole: false `worse` and `better`, and a budget crossed by a rise of just its limit."""
    cells = list(calibration_words.whole_cells((100,), draws=50))
    assert len(cells) == 2 * len(calibration_words.UNCHANGED) + len(calibration_words.AT_LIMIT)
    assert not [cell for cell in cells if cell.trouble] and sum(cell.old_fails for cell in cells) == 2


def test_words_of_calibration_keep_their_rates_in_waves() -> None:
    cells = list(calibration_words.wave_cells((570,), draws=12))
    assert not [cell for cell in cells if cell.trouble] and sum(cell.old_fails for cell in cells) == 1
