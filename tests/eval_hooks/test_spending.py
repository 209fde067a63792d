"""What a run's evaluations may spend: worked by hand, never more than alpha, and the same however a run is broken off."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval_hooks.budget import crossed, plan_of
from eval_hooks.config import Budget
from eval_hooks.control.ledger import FILE, begin_anew, copy_upto, roll_back, spend
from eval_hooks.errors import EvalError
from eval_hooks.retention import of_run, retention
from eval_hooks.retention.interval import paired_change
from eval_hooks.retention.reach import items_for_kept, margin_for_kept, most_flips, reach
from eval_hooks.retention.spending import Look, Plan, Spent, next_alpha, planned_alphas
from tests.benchmarks.made_tables import flipping, table
from tests.eval_hooks.tables import right_or_wrong


def spend_all(plan: Plan, kinds: list[bool]) -> list[float]:
    spent: list[Spent] = []
    for step, final in enumerate(kinds):
        spent.append(Spent(step=step, alpha=next_alpha(plan, spent, final), final=final))
    return [one.alpha for one in spent]


def test_three_looks_and_the_last_by_hand() -> None:
    """Alpha .05: .01 for three and one unplanned, .0025 each; the last .95 * .04. In all .0455."""
    assert spend_all(Plan(between=3), [False, False, False, True]) == pytest.approx([0.0025] * 3 + [0.038])
    assert planned_alphas(Plan(between=3)) == pytest.approx((0.0025, 0.038))


def test_a_look_that_is_the_only_one_takes_all() -> None:
    assert spend_all(Plan(), [True]) == [0.05] and planned_alphas(Plan()) == (None, 0.05)


def test_without_an_end_the_kth_spends_its_part_of_k_times_k_plus_one() -> None:
    """Of .01: 1/2, 1/6, 1/12, 1/20."""
    assert spend_all(Plan(between=None), [False] * 4) == pytest.approx([0.005, 0.01 / 6, 0.01 / 12, 0.01 / 20])


@given(
    between=st.none() | st.integers(0, 30),
    share=st.floats(0.01, 0.99),
    kinds=st.lists(st.booleans(), min_size=1, max_size=80),
)
def test_no_order_of_looks_spends_more_than_alpha(between: int | None, share: float, kinds: list[bool]) -> None:
    """More than planned, several ends (a run made longer), the end first: what is spent is never negative nor too much."""
    spent = spend_all(Plan(alpha=0.05, between=between, final_share=share), kinds)
    assert min(spent) >= 0 and sum(spent) <= 0.05 + 1e-12
    if between != 0:
        assert all(alpha > 0 for alpha in spent[:8])


def noted(folder: Path, run: int, plan: Plan, step: int, final: bool) -> tuple[float, float]:
    look = spend(folder, run, plan, step, final)
    return look["here"], look["spent"]


def test_an_evaluation_made_again_is_the_same_look_and_after_a_roll_back_another(tmp_path: Path) -> None:
    plan = Plan(between=3)
    first = noted(tmp_path, 0, plan, 10, final=False)
    assert first == pytest.approx((0.0025, 0.0025)) and noted(tmp_path, 0, plan, 10, final=False) == first
    assert noted(tmp_path, 0, plan, 20, final=False) == pytest.approx((0.0025, 0.005))
    assert noted(tmp_path, 0, plan, 10, final=False) == first  # a watcher's, of a step that the run has passed
    roll_back(tmp_path, 0, after=10)
    assert noted(tmp_path, 0, plan, 10, final=False) == first
    again = noted(tmp_path, 0, plan, 20, final=False)
    assert again == pytest.approx((0.0025, 0.0075))
    assert noted(tmp_path, 0, plan, 40, final=True) == pytest.approx((0.038, 0.0455))
    assert len(json.loads((tmp_path / FILE).read_text())["looks"]) == 4


def test_runs_of_a_pipeline_spend_apart_and_one_begun_anew_begins_with_all(tmp_path: Path) -> None:
    plan = plan_of(Budget(), between=0, runs=2)
    assert plan.alpha == pytest.approx(0.025)
    assert noted(tmp_path, 0, plan, 10, final=True) == pytest.approx((0.025, 0.025))
    assert noted(tmp_path, 10, plan, 20, final=True) == pytest.approx((0.025, 0.025))
    begin_anew(tmp_path, 10)
    assert [row["step"] for row in json.loads((tmp_path / FILE).read_text())["looks"]] == [10]
    copy_upto(tmp_path, tmp_path / "fork", 5)
    assert json.loads((tmp_path / "fork" / FILE).read_text())["looks"] == []


@pytest.mark.parametrize("text", ['{"looks": [{"step": 1}]}', '{"looks": 3}', '{"looks": [{"run": 0, "step": 1, "alpha": -1, "final": false}]}'])  # fmt: skip
def test_a_ledger_that_is_none_is_refused_with_the_remedy(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text)
    with pytest.raises(EvalError, match="spending.json: .*; put it back"):
        spend(tmp_path, 0, Plan(), 1, final=True)


def test_three_limits_share_what_two_may_spend() -> None:
    """Each is proven one-sidedly, with half of alpha: with all three at their limits one acts in alpha of runs."""
    two, three = Budget(accuracy_drop=0.02, ece_rise=0.03), Budget(accuracy_drop=0.02, ece_rise=0.03, target_floor=0.5)
    assert plan_of(two, 9, 1).alpha == pytest.approx(0.05) and plan_of(three, 9, 1).alpha == pytest.approx(0.1 / 3)
    assert plan_of(Budget(confidence=0.99), 9, 1).alpha == pytest.approx(0.01)


def entry(lost: int, gained: int, n: int, look: Look) -> dict[str, Any]:
    before = right_or_wrong([1] * lost + [0] * (n - lost))
    after = right_or_wrong([0] * lost + [1] * gained + [0] * (n - lost - gained))
    return retention(before, after, 0.02, 0.25, look=look)


def test_the_verdict_is_the_runs_and_one_looks_interval_stands_beside_it() -> None:
    """570 items, 20 lost and 6 gained: p = .0094, so `dropped` alone; not at a look that may spend .001."""
    alone, one_of_ten = (entry(20, 6, 570, look) for look in (Look(), Look(alpha=0.001, looks=10)))
    assert alone["verdict"] == "dropped" and one_of_ten["verdict"] == "undecided"
    assert alone["delta"] == one_of_ten["delta"]
    assert alone["delta_run"] == {"low": alone["delta"]["low"], "high": alone["delta"]["high"], "level": 0.95,
                                  "looks": 1, "alpha": 0.05}  # fmt: skip
    run = one_of_ten["delta_run"]
    assert run["low"] < alone["delta"]["low"] and run["high"] > 0 and run["looks"] == 10
    assert one_of_ten["minimum_detectable"] > alone["minimum_detectable"]


def test_where_all_is_spent_nothing_is_claimed() -> None:
    spent = entry(200, 0, 570, Look(alpha=0.0))
    assert spent["verdict"] == "undecided" and (spent["delta_run"]["low"], spent["delta_run"]["high"]) == (-1, 1)
    assert spent["minimum_detectable"] == 1


def test_the_budget_acts_on_the_runs_bounds() -> None:
    """Of 570 items 40 lost: 7 points, between 4.3 and 9.9 alone. A limit of 4 is broken alone, not at alpha .0001."""
    tasks = {"pocket": {"role": "retain", "status": "ok", "retention": entry(40, 0, 570, Look())}}
    limit = Budget(accuracy_drop=0.045)
    assert crossed(limit, {"step": 1, "tasks": tasks})
    tasks["pocket"]["retention"] = entry(40, 0, 570, Look(alpha=0.0001, looks=10))
    assert not crossed(limit, {"step": 1, "tasks": tasks})


def test_a_run_at_the_limit_through_the_products_own_functions(tmp_path: Path) -> None:
    """300 items, 20 % flip, the limit lost at each of 10 looks, 150 runs: acts in 5 % at most, and .95 alone in far more."""
    rng, law, budget = np.random.default_rng(7), flipping(300, 0.2, -0.05), Budget(accuracy_drop=0.05)
    acted, alone = 0, 0
    for run in range(150):
        found, single = False, False
        for step in range(1, 11):
            alpha, _ = noted(tmp_path / str(run), 0, plan_of(budget, 9, 1), step, step == 10)
            before, after = table(law, rng)
            lost, gained = int((before & ~after).sum()), int((~before & after).sum())
            found |= bool(crossed(budget, summary(lost, gained, Look(alpha=alpha))))
            single |= bool(crossed(budget, summary(lost, gained, Look())))
        acted, alone = acted + found, alone + single
    assert acted <= 150 * 0.05 < 150 * 0.15 < alone


def summary(lost: int, gained: int, look: Look) -> dict[str, Any]:
    delta = of_run(paired_change(lost, gained, 300, 1 - look.alpha), look)
    return {"step": 1, "tasks": {"x": {"role": "retain", "status": "ok", "retention": {"delta_run": delta}}}}


# --- what can be said at all


def test_kept_is_out_of_reach_from_where_the_interval_says_so() -> None:
    """570 items, margin 2 points: alone 15 lost and 15 gained are kept, 16 are not; at three looks not even 5 % flips."""
    assert most_flips(570, 0.02, 0.05) == pytest.approx(30 / 570)
    words = [entry(k, k, 570, Look())["verdict"] for k in (15, 16)]
    assert words == ["kept", "undecided"]
    third = reach(570, 0.02, Plan(alpha=0.05, between=2, final_share=1 / 3), 1)
    assert third.final is not None and third.final < 0.05 <= (third.alone or 0)
    assert most_flips(100, 0.02, 0.05) is None


def test_what_would_make_it_reachable_does() -> None:
    n = items_for_kept(0.02, 0.01)
    assert (most_flips(n + 40, 0.02, 0.01) or 0) >= 0.05 - 2 / n and (most_flips(n - 40, 0.02, 0.01) or 0) < 0.05
    wide = margin_for_kept(570, 0.01)
    assert (most_flips(570, wide + 0.001, 0.01) or 0) >= 0.05 - 2 / 570
    assert (most_flips(570, wide - 0.001, 0.01) or 0) < 0.05
