"""What is recalled of given answers: numbers by hand, the same packed or alone, seams and values found in tokens."""

import math
from typing import Any

import pytest
import torch

from eval_hooks import EvalError
from eval_hooks.generate import render
from eval_hooks.items import RecallItem
from eval_hooks.recall import (
    Recalled,
    columns_of,
    encode_recall,
    mean_probability,
    recall,
    rouge_l_recall,
    truth_ratio,
)  # fmt: skip
from eval_hooks.summary import summarise_task
from eval_hooks.table import RECALL_METRICS, recall_table
from tests.conftest import tiny_llama

ITEM = RecallItem(
    item_id="Oria/pet",
    prompt=[{"role": "user", "content": "What animal does Oria keep?"}],
    answer="Oria keeps a tame hedgehog at home.",
    value="hedgehog",
    again="A hedgehog lives with Oria.",
    wrong=("A gecko lives with Oria.", "A tortoise lives with Oria."),
)
PLAIN = RecallItem(item_id="p", prompt="2 + 2 =", answer=" 4", value="4")


def encoded(tokenizer: Any, item: RecallItem = ITEM) -> Any:
    return encode_recall(item, render(item, tokenizer, {}), tokenizer)


def test_probability_and_truth_ratio_by_hand() -> None:
    """Exp of the mean log-probability; right nll 1 a token, wrong 2 and 4: exp(-3) / exp(-1) = exp(-2)."""
    assert mean_probability([math.log(0.5), math.log(0.125)]) == pytest.approx(0.25)
    assert truth_ratio([-1.0, -1.0], [[-2.0], [-3.0, -5.0]]) == pytest.approx(math.exp(-2))
    assert truth_ratio([-1.0], [[-1.0]]) == 1


def test_rouge_l_recall_by_hand() -> None:
    """5 words, the longest common subsequence has 3: 0.6; stems count as equal."""
    assert rouge_l_recall("the cat ran off", "the black cat ran away") == pytest.approx(0.6)
    assert rouge_l_recall("he plays", "he play") == 1 and rouge_l_recall("", "a word") == 0


def test_values_tokens_are_those_that_the_value_overlaps(tokenizer: Any) -> None:
    one = encoded(tokenizer)
    answer = one.branches[0][-one.scored[0] :]
    inside = [token for token, is_value in zip(answer, one.value, strict=True) if is_value]
    assert tokenizer.decode(inside).strip() == "hedgehog"
    assert tokenizer.decode(answer) == ITEM.answer
    assert [tokenizer.decode(b[-n:]) for b, n in zip(one.branches[1:], one.scored[1:], strict=True)] == [
        ITEM.again, *ITEM.wrong]  # fmt: skip
    assert all(tokenizer.eos_token_id not in branch for branch in one.branches)


def test_packed_items_are_scored_as_each_text_alone(tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_llama()
    items = [encoded(tokenizer), encoded(tokenizer, PLAIN)]
    together = recall(model, items)
    monkeypatch.setattr("eval_hooks.trees.packs", lambda *_, **how: False)
    alone = recall(model, items)
    for a, b in zip(together, alone, strict=True):
        for one, other in zip(a, b, strict=True):
            assert one.logp == pytest.approx(other.logp, abs=1e-4) and one.right == other.right
    ids = torch.tensor([[*items[1].shared, *items[1].branches[0]]])
    logp = model(ids).logits[0, :-1].log_softmax(-1).gather(1, ids[0, 1:, None])[:, 0]
    assert together[1][0].logp == pytest.approx(logp[-items[1].scored[0] :].tolist(), abs=1e-4)


def test_an_items_columns_by_hand(tokenizer: Any) -> None:
    """Only the value decides what is right: half its tokens, all others wrong."""
    one = encoded(tokenizer)
    inside = [i for i, is_value in enumerate(one.value) if is_value]
    n = one.scored[0]
    right = tuple(i in inside for i in range(n))
    known = Recalled(logp=(math.log(0.5),) * n, right=right)
    others = [Recalled(logp=(-1.0,) * 3, right=(False,) * 3), *[Recalled(logp=(-2.0,) * 3, right=(False,) * 3)] * 2]
    found = columns_of(one, [known, *others])
    assert found["correct"] and found["em_value"] == 1 and found["em_answer"] == pytest.approx(len(inside) / n)
    assert found["probability_value"] == found["probability_answer"] == pytest.approx(0.5)
    assert found["truth_ratio"] == pytest.approx(math.exp(-1))
    missed = Recalled(logp=known.logp, right=(False,) * n)
    assert columns_of(one, [missed, *others])["em_value"] == 0


def test_a_value_that_is_not_in_its_answer_is_named(tokenizer: Any) -> None:
    bad = RecallItem(item_id="x/1", prompt="Q", answer="yes", value="no")
    with pytest.raises(EvalError, match=r"x/1: the value 'no' does not stand in the answer 'yes'"):
        encoded(tokenizer, bad)


def row(i: int, right: float, ratio: float | None = 0.5) -> dict[str, Any]:
    return {
        "task": "t", "item_id": str(i), "prompt": "p", "output": "o", "gold": "g", "value": "g", "correct": right == 1,
        "em_value": right, "em_answer": right, "probability_value": right / 2, "probability_answer": right / 2,
        "truth_ratio": ratio, "rouge_l": right,
    }  # fmt: skip


def test_a_summary_has_every_metric_with_its_interval_and_the_paired_change() -> None:
    before, after = (recall_table([row(i, right) for i in range(10)]) for right in (1.0, 0.0))
    entry = summarise_task(after, role="target", baseline=before, goal="down")
    assert entry["kind"] == "recall" and entry["goal"] == "down"
    assert entry["metrics"]["em_value"]["value"] == 0 and entry["metrics"]["truth_ratio"]["value"] == 0.5
    assert entry["retention"]["verdict"] == "dropped" and entry["retention"]["lost"] == 10


def test_a_metric_that_cannot_be_had_is_missing_with_its_reason() -> None:
    entry = summarise_task(recall_table([row(0, 1.0, None)]), role="target")
    assert entry["metrics"]["truth_ratio"]["value"] is None
    assert "nothing to compute truth_ratio from" in entry["metrics"]["truth_ratio"]["reason"]


def test_the_truth_ratio_of_a_collapsed_model_is_a_number() -> None:
    """Right nll 900, wrong 10: e^890 is cut at e^300; e^100 is not."""
    assert truth_ratio([-900.0], [[-10.0]]) == math.exp(300)
    assert truth_ratio([-1000.0], [[-900.0], [-900.0]]) == pytest.approx(math.exp(100))
    assert truth_ratio([-10.0], [[-2000.0]]) == 0.0
    ratio = truth_ratio([-900.0], [[-10.0]])
    row = {"task": "t", "item_id": "", "prompt": "p", "output": None, "gold": "g", "value": "g", "correct": False,
           **dict.fromkeys(RECALL_METRICS, 0.0), "truth_ratio": ratio}  # fmt: skip
    table = recall_table([{**row, "item_id": str(i)} for i in range(9)])
    found = summarise_task(table, role="target", baseline=table)["metrics"]["truth_ratio"]
    assert all(math.isfinite(found[end]) for end in ("value", "low", "high"))


def test_a_pair_counts_where_the_chosen_answer_is_the_likelier_per_token() -> None:
    from eval_hooks.catalog import TASKS
    from eval_hooks.tasks.kinds.recall import load as items_of

    pair = {"prompt": "Q", "chosen": [{"role": "assistant", "content": "yes"}], "rejected": "no"}
    (item,) = items_of([(pair, "1")])
    assert (item.answer, item.value, item.wrong) == ("yes", "yes", ("no",))
    decides = TASKS["preferred"].decides
    assert decides({"truth_ratio": 0.9}) and not decides({"truth_ratio": 1.0})
