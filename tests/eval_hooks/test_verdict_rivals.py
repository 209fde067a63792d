"""The judge beside its rivals, as far as that goes without a network: the table of adapters, our own rows, one rival."""

import ast

import numpy as np
import pytest

from tests.benchmarks import verdict_rivals as bench
from tests.benchmarks.rivals import installed
from tests.benchmarks.rivals.asked import accuracies, items
from tests.benchmarks.rivals.catalog import ALL, RIVALS, Rival, Rule

LM_EVAL = next(rival for rival in RIVALS if rival.name == "lm-eval")


@pytest.mark.parametrize("rival", RIVALS, ids=lambda rival: rival.name)
def test_every_rule_of_the_table_has_its_adapter_and_every_package_its_version(rival: Rival) -> None:
    tree = ast.parse((installed.HERE / rival.script).read_text("utf-8"))
    rules = next(node.value for node in tree.body if isinstance(node, ast.AnnAssign) and node.target.id == "RULES")
    assert {rule.name for rule in rival.rules} <= {ast.literal_eval(key) for key in rules.keys}
    assert all(set(rule.tables) <= set(ALL) for rule in rival.rules)
    assert all("==" in package for package in rival.packages)


def test_a_table_is_the_items_lost_the_items_gained_and_the_others() -> None:
    """10 items, 2 lost, 1 gained: of the other 7 round(4.2) = 4 are right."""
    before, after = map(np.array, items((10, 2, 1)))
    assert ((before > after).sum(), (after > before).sum(), len(before)) == (2, 1, 10)
    assert accuracies((10, 2, 1)) == (before.mean(), after.mean()) == (0.6, 0.5)


def test_ours_keeps_its_promise_in_one_look_and_over_ten() -> None:
    tables = bench.drawn(0.1)
    words = bench.ours(bench.asked_of(bench.OURS["delta"], tables, 0.1))
    rows = [row for name, rule in bench.OURS.items() for row in bench.rows_of(name, rule, words[name], tables, 0.1)]
    assert len(rows) == 6 and not bench.broken(rows)
    one, run = ({row.n: row for row in rows if row.name == name} for name in ("delta", "delta_run"))
    assert one[570].in_ten_looks is False and run[570].in_ten_looks
    assert one[570].missed < run[570].missed < one[570].missed + 0.04, "what a run of ten looks costs"
    assert bench.table_of(rows).count("\n") == 7


def test_a_rate_may_lie_four_standard_errors_above_its_promise() -> None:
    """2.5 % of 1,000: the error is .494 points, so that 4.47 % is the most."""
    assert bench.keeps(0.025, 0.0447, 1000) and not bench.keeps(0.025, 0.0448, 1000)
    assert bench.keeps(None, 0.5, 1000) is None and bench.keeps(0.025, None, 1000) is None


def test_a_run_of_ten_looks_is_false_where_any_of_them_is() -> None:
    quiet, loud = bench.Word(early="", last="loss"), bench.Word(early="loss", last="")
    assert not bench.any_false([quiet] * 9 + [loud])
    assert bench.any_false([quiet] * 10) and bench.any_false([loud, *[quiet] * 8, loud])


def test_a_rival_that_cannot_be_asked_says_why() -> None:
    nobody = Rival(name="no-body", packages=(), rules=(Rule(name="none"),))
    with pytest.raises(installed.UnavailableError, match="ask_no_body.py"):
        installed.ask(nobody, {"none": []}, 0.02)


def test_two_accuracies_a_standard_error_each_apart_are_ticked() -> None:
    """lm-eval's comparer, 570 items: 4 lost and 4 gained, 30 points lost, 30 gained."""
    pytest.importorskip("lm_eval")
    tables = [(570, 4, 4), (570, 171, 0), (570, 0, 171)]
    found = installed.ask(LM_EVAL, {"model_comparator": tables}, 0.02)
    assert found["model_comparator"]["words"] == ["kept", "loss", "gain"]
