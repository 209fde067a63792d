"""Verifiers on hand-written rows, false accepts among them; composition; what happens when one breaks."""

import json
from pathlib import Path
from typing import Any

import pytest

from eval_hooks.items import GenerateItem
from eval_hooks.judging import judged
from trainers import TrainError
from trainers.rlvr.apart import judge_call
from trainers.rlvr.extract import final_answer, last_box, thinking_removed
from trainers.rlvr.judge import VERIFIERS, judge, weights
from trainers.rlvr.rewards import Court
from trainers.rlvr.verdict import Verifier, wrong


def ok(name: str, completion: str, **row: Any) -> bool:
    verdict = VERIFIERS[name].verify(row, completion)
    assert verdict.reward == float(verdict.ok) and verdict.reason
    return verdict.ok


@pytest.mark.parametrize(
    ("reply", "due"),
    [
        (r"so \boxed{42}", "42"),
        (r"\boxed{1} no, \boxed{2}", "2"),
        (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed{\sqrt{\frac{a}{b}}}", r"\sqrt{\frac{a}{b}}"),
        (r"\boxed{}", None),
        (r"\boxed{3", None),
        ("The answer is 7.", "7"),
        ("the answer is: 7", "7"),
        ("Answer: 3 apples\nThat is all.", "3 apples"),
        ("Answer: 3\nAnswer: 4", "4"),
        ("Final Answer: **12**", "12"),
        ("The final answer is: x = 2", "x = 2"),
        ("Solution: 5", "5"),
        ("The solution is 9", "9"),
        ("Answer:", None),
        ("I do not know", None),
        (r"Answer: 3 but \boxed{4}", "4"),
        ("The answer is 8<|im_end|>", "8"),
        ("", None),
        ("The answer is 5" + "x" * 5000, None),
    ],
)
def test_the_announced_answer(reply: str, due: str | None) -> None:
    assert final_answer(reply) == due


def test_boxes_and_thoughts() -> None:
    assert last_box(r"\boxed{a{b}c}") == "a{b}c" and last_box("none") is None
    assert thinking_removed("<think>4</think> 5") == " 5"
    assert thinking_removed("<think>4 and no end") == ""
    assert thinking_removed("no thought") == "no thought"


@pytest.mark.parametrize(
    ("reply", "answer", "due"),
    [
        (r"\boxed{0.5}", "1/2", True),
        (r"\boxed{\frac{1}{2}}", "0.5", True),
        (r"The answer is $\frac{2}{4}$.", r"\frac{1}{2}", True),
        ("Answer: 3", "3", True),
        ("It is 3", "3", True),
        (r"\boxed{x^2-1}", "(x-1)(x+1)", True),
        (r"\boxed{\{1,2\}}", r"\{2,1\}", True),
        (r"\boxed{[0,1)}", "[0,1)", True),
        (r"\boxed{1{,}000}", "1000", True),
        (r"\boxed{2\sqrt{3}}", r"\sqrt{12}", True),
        (r"\boxed{x=4}", "4", True),
        (r"\boxed{50\%}", "50", True),
        (r"\boxed{4}", "5", False),
        (r"\boxed{(0,1)}", "[0,1)", False),
        (r"\boxed{\{1,2,3\}}", r"\{1,2\}", False),
        ("5 first, then \\boxed{4}", "5", False),
        ("<think>\\boxed{5}</think> \\boxed{4}", "5", False),
        ("<think>\\boxed{5}", "5", False),
        ("no idea", "5", False),
        ("", "5", False),
        (r"\boxed{-5}", "5", False),
        (r"\boxed{5x}", "5", False),
    ],
)
def test_math(reply: str, answer: str, due: bool) -> None:
    assert ok("math", reply, answer=answer) == due


@pytest.mark.parametrize(
    ("reply", "answer", "due"),
    [
        ("7", "7", True),
        ("The answer is 7.", "7", True),
        ("2 + 5 = 7", "7", True),
        ("1,234", "1234", True),
        ("$1,234.50", "1234.5", True),
        ("-3", "-3", True),
        ("+3", "3", True),
        ("7.0", "7", True),
        ("72 clips", "She sold 72. #### 72", True),
        ("seven, that is 7!", "7", True),
        ("Answer: 7 (of 10)", "7", True),
        ("8", "7", False),
        ("7 or 8", "7", False),
        ("The answer is 8, not 7. Answer: 8", "7", False),
        ("77", "7", False),
        ("x7", "7", False),
        ("7th", "7", False),
        ("0.7", "7", False),
        ("-7", "7", False),
        ("1.7", "7", False),
        ("none", "7", False),
        ("", "7", False),
        ("<think>7</think> 8", "7", False),
    ],
)
def test_number(reply: str, answer: str, due: bool) -> None:
    assert ok("number", reply, answer=answer) == due


FRUIT = ["pear", "plum", "fig"]


@pytest.mark.parametrize(
    ("reply", "row", "due"),
    [
        ("B", {"answer": "B"}, True),
        ("(B)", {"answer": "B"}, True),
        ("B.", {"answer": "B"}, True),
        ("The answer is B", {"answer": "B"}, True),
        ("Answer: B) the second", {"answer": "B"}, True),
        ("A dog barks, so B", {"answer": "B"}, True),
        ("pear", {"answer": "pear", "choices": FRUIT}, True),
        ("It is the Pear.", {"answer": "pear", "choices": FRUIT}, True),
        ('The word "fig" comes last.', {"answer": "fig", "choices": FRUIT}, True),
        ("pear, plum, fig. Answer: fig", {"answer": "fig", "choices": FRUIT}, True),
        ("7", {"answer": "7", "choices": ["7", "70"]}, True),
        ("A", {"answer": "B"}, False),
        ("A or B", {"answer": "B"}, False),
        ("A, B, C, D", {"answer": "D"}, False),
        ("b", {"answer": "B"}, True),
        ("B", {"answer": "plum", "choices": FRUIT}, False),
        ("B", {"answer": "plum", "choices": FRUIT, "prompt": "Which?\nA) pear\nB) plum\nC) fig"}, True),
        ("B", {"answer": "B", "choices": FRUIT}, True),
        ("A) plum", {"answer": "B", "choices": FRUIT}, False),
        ("Because", {"answer": "B"}, False),
        ("pear, plum, fig", {"answer": "fig", "choices": FRUIT}, False),
        ("figment", {"answer": "fig", "choices": FRUIT}, False),
        ("pear plum", {"answer": "plum", "choices": FRUIT}, False),
        ("70", {"answer": "7", "choices": ["7", "70"]}, False),
        ("", {"answer": "B"}, False),
        ("<think>B</think> C", {"answer": "B"}, False),
    ],
)
def test_choice(reply: str, row: dict[str, Any], due: bool) -> None:
    assert ok("choice", reply, **row) == due


@pytest.mark.parametrize(
    ("reply", "answer", "due"),
    [
        ("pear", "pear", True),
        (" Pear. ", "pear", True),
        ("PEAR<|im_end|>", "pear", True),
        ("a  b", "a b", True),
        ("<think>plum</think>pear", "pear", True),
        ("3", "3", True),
        ("3.", "3", True),
        ("New\nYork", "new york", True),
        ("pear.", "pear.", True),
        ("it's", "it's", True),
        ("the pear", "pear", False),
        ("pear pear", "pear", False),
        ("pear, plum", "pear", False),
        ("pear!", "pear", False),
        ("pears", "pear", False),
        ("3.0", "3", False),
        ("", "pear", False),
        ("<think>pear", "pear", False),
        ("pear..", "pear", False),
        ("p e a r", "pear", False),
    ],
)
def test_exact(reply: str, answer: str, due: bool) -> None:
    assert ok("exact", reply, answer=answer) == due


DONE = "thought </think> <answer>4</answer>"


@pytest.mark.parametrize(
    ("reply", "row", "due"),
    [
        (DONE, {}, True),
        ("<think>thought</think><answer>4</answer>", {}, True),
        ("a\nb</think>\n<answer>c\nd</answer>\n", {}, True),
        (DONE + "<|im_end|>", {}, True),
        ("</think><answer>4</answer>", {}, True),
        ("yes", {"format": "yes|no"}, True),
        ("no", {"format": "yes|no"}, True),
        ("12-05", {"format": r"\d\d-\d\d"}, True),
        (" yes ", {"format": "yes|no"}, True),
        ("a\nb", {"format": "a.b"}, True),
        ("4", {}, False),
        ("<answer>4</answer>", {}, False),
        ("</think> </think> <answer>4</answer>", {}, False),
        (DONE + " and more", {}, False),
        (DONE + DONE, {}, False),
        ("</think> <answer></answer>", {}, False),
        ("</think> <answer>4", {}, False),
        ("<answer>4</answer> </think>", {}, False),
        ("yes, no", {"format": "yes|no"}, False),
        ("maybe", {"format": "yes|no"}, False),
        ("", {}, False),
    ],
)
def test_format(reply: str, row: dict[str, Any], due: bool) -> None:
    assert ok("format", reply, answer="4", **row) == due


@pytest.mark.parametrize(
    ("reply", "answer", "due"),
    [
        ("3", "3", True),
        ("3.0", "3", True),
        ("3.", "3", True),
        ("Ada, Ben", "Ben, Ada", True),
        ("ada", "Ada", True),
        ("1,200", "1200", True),
        (" Ada ", "Ada", True),
        ("Ada<|im_end|>", "Ada", True),
        ("2020-01-02", "2020-01-02", True),
        ("Ada, Ada", "Ada, Ada", True),
        ("<think>Ben</think>Ada", "Ada", True),
        ("4", "3", False),
        ("Ada", "Ada, Ben", False),
        ("Ada, Ben", "Ada", False),
        ("Ada, Ada", "Ada", False),
        ("The result is Ada", "Ada", False),
        ("Ada Ben", "Ada, Ben", False),
        ("", "Ada", False),
        ("33", "3", False),
        ("-3", "3", False),
    ],
)
def test_sql(reply: str, answer: str, due: bool) -> None:
    assert ok("sql", reply, answer=answer) == due


def test_weights_compose_and_the_first_verifier_decides_what_is_right() -> None:
    row = {"verifier": {"choice": 0.5, "exact": 0.5}, "answer": "fig", "choices": FRUIT, "prompt": "?"}
    found = [(v.reward, v.ok) for v in (judge(row, text) for text in ("fig", "the fig", "pear"))]
    assert found == [(1.0, True), (0.5, True), (0.0, False)]
    assert judge({**row, "verifier": "exact"}, "fig").reward == 1.0


@pytest.mark.parametrize(
    ("name", "golds", "rights", "wrongs"),
    [
        ("exact", ["Amsterdam", "Mokum"], ["Amsterdam", "mokum"], ["Rotterdam", "['Amsterdam', 'Mokum']"]),
        ("number", ["3", "1/2"], ["3", ".5"], ["2"]),
        ("math", ["5 cm", r"\frac{1}{3}"], ["50 mm", "1/3"], ["5 kg", "3"]),
        ("choice", ["pear", "plum"], ["pear", "plum"], ["fig", "pear, plum"]),
        ("sql", ["Ada, Ben", "3"], ["Ben, Ada", "3.0"], ["Ada", "Ada, Ben, 3"]),
    ],
)
def test_of_several_gold_answers_any_is_right(
    name: str, golds: list[str], rights: list[str], wrongs: list[str]
) -> None:
    row = {"answer": golds, **({"choices": FRUIT} if name == "choice" else {})}
    assert [ok(name, reply, **row) for reply in rights] == [True] * len(rights)
    assert [ok(name, reply, **row) for reply in wrongs] == [False] * len(wrongs)


@pytest.mark.parametrize(
    ("verifier", "message"),
    [
        ("maths", "verifier 'maths': no such verifier; there is: math, number"),
        ({"exact": 0}, "must be a number above 0, got 0"),
    ],
)
def test_a_verifier_that_cannot_be_is_named(verifier: Any, message: str) -> None:
    with pytest.raises(TrainError, match=message):
        weights({"verifier": verifier})


def test_breaking_is_counted_kept_and_above_5_percent_of_the_last_200_the_run_stops(tmp_path: Path) -> None:
    """A gold answer without a number breaks `number`: 2 of 2 are too few to say anything, 3 of 60 are 5 % and go on.

    4 of 61 are too many. Of the last 200, 10 may break: the first ones are forgotten after 200 more.
    """
    good, bad = ({"verifier": "number", "answer": gold, "prompt": "q", "item_id": gold} for gold in ("7", "none"))
    court = Court(file=tmp_path / "broken.jsonl")
    assert court.rewards("number", [bad] * 2, ["8"] * 2) == [None] * 2
    assert court.figures([bad] * 2) == {"broken": 1.0, "killed": 0.0, "right": 0.0, "form_only": 0.0}
    assert court.rewards("number", [good] * 57, ["7"] * 57) == [1.0] * 57
    assert court.rewards("number", [bad], ["9"]) == [None]
    with pytest.raises(
        RuntimeError, match=r"number broke in 4 of its last 61 judgements \(5 % are allowed\).* on 'none'"
    ):
        court.rewards("number", [bad], ["9"])
    kept = [json.loads(line) for line in (tmp_path / "broken.jsonl").read_text().splitlines()]
    assert [(one["row"]["item_id"], one["completion"]) for one in kept] == [("none", "8")] * 2 + [("none", "9")] * 2
    assert "number" in kept[0]["error"]
    later = Court()
    for _ in range(4):  # 40 of 440 in all, and never more than 10 of the last 200
        later.rewards("number", [good] * 190, ["7"] * 190)
        assert later.rewards("number", [bad] * 10, ["7"] * 10) == [None] * 10


def test_the_first_three_judgements_can_stop_the_run_and_each_verifier_has_its_own_share() -> None:
    """`exact` judges well as often as it is asked; `number` breaks on every row that names it."""
    well = {"verifier": "exact", "answer": "none", "prompt": "q"}
    court = Court()
    court.rewards("exact", [well] * 300, ["none"] * 300)
    with pytest.raises(RuntimeError, match="number broke in 3 of its last 3 judgements"):
        court.rewards("number", [{**well, "verifier": "number"}] * 3, ["7"] * 3)


RETURNS = """
from math import inf, nan
from trainers.rlvr.verdict import Verdict, Verifier, right

GIVEN = {"none": None, "nan": Verdict(reward=nan, ok=True), "inf": Verdict(reward=inf, ok=True), "bool": True,
         "float": 0.5, "pair": (1.0, True), "right": right()}
VERIFIERS = {"mine": Verifier(verify=lambda row, text: GIVEN[row["answer"]], about="")}
"""


NO_VERDICTS = {
    "none": "TypeError: returned None; a Verdict(reward, ok, reason) is due",
    "bool": "TypeError: returned True; a Verdict",
    "float": "TypeError: returned 0.5; a Verdict",
    "pair": "TypeError: returned (1.0, True); a Verdict",
    "nan": "ValueError: gave the reward nan; a number between 0 and 1 is due",
    "inf": "ValueError: gave the reward inf",
}


def test_what_is_no_verdict_is_counted_kept_and_stops_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.py").write_text(RETURNS)
    verifier = Verifier(verify=lambda *asked: wrong(""), about="", home=str(tmp_path / "mine.py"))
    monkeypatch.setitem(VERIFIERS, "mine", verifier)
    for given, error in NO_VERDICTS.items():
        row = {"prompt": "q", "verifier": "mine", "answer": given}
        kept = tmp_path / f"{given}.jsonl"
        court = Court(file=kept)
        assert court.rewards("mine", [{**row, "answer": "right"}, row, row], ["a", "b", "c"]) == [1.0, None, None]
        assert (court.broken, court.figures([row] * 3)["right"]) == (2, 1 / 3)
        assert [json.loads(line)["error"].startswith(error) for line in kept.open()] == [True] * 2
        with pytest.raises(RuntimeError, match="mine broke in 3 of its last 4 judgements"):
            court.rewards("mine", [row], ["d"])
    items = [
        GenerateItem(item_id=given, prompt="q", gold=given, row={"prompt": "q", "verifier": "mine", "answer": given})
        for given in NO_VERDICTS
    ]
    held_out = judged(judge_call(), ["b"] * len(items), items)
    assert [(ok, "broke" in reason) for ok, reason in held_out] == [(False, True)] * len(items)


def test_what_is_paid_for_the_form_alone_by_hand() -> None:
    """Weights 0.8 right, 0.2 form. Answers: right and formed, formed, neither: rewards 1, 0.2, 0; form only 0.2 / 3."""
    row = {"verifier": {"exact": 0.8, "format": 0.2}, "answer": "fig", "format": "[a-z]+", "prompt": "q"}
    court = Court()
    for name, due in (("exact", [0.8, 0.0, 0.0]), ("format", [0.2, 0.2, 0.0])):
        assert court.rewards(name, [row] * 3, ["fig", "pear", "PEAR 1"]) == due
    assert court.figures([row] * 3) == pytest.approx(
        {"broken": 0.0, "killed": 0.0, "right": 1 / 3, "form_only": 0.2 / 3}
    )
    assert Court().rewards("format", [{**row, "verifier": "exact"}], ["fig"]) == [None]
