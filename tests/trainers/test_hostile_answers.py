"""What a model or a row may write and never finish: a verdict within seconds, and the run goes on."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from eval_hooks import EvalError, judging
from eval_hooks.items import GenerateItem
from eval_hooks.judging import judged, task_call
from trainers import TrainError
from trainers.rlvr.apart import judge_call
from trainers.rlvr.judge import VERIFIERS
from trainers.rlvr.rewards import Court, check_rows

ENDLESS = {
    "tower": r"\boxed{9^{9^{9^{9}}}}",
    "factorial": r"\boxed{9999999!}",
    "no latex": "9**9**9**9",
    "braces": r"\boxed{" + "{" * 1900 + "}" * 1900 + "}",
}
"""Of these math-verify does not find an end; the other verifiers read them as any text."""
LARGE = {
    "digits": "9" * 100_000,
    "digits in a box": r"\boxed{" + "9" * 3900 + "}",
    "exponent": "The answer is 1e999999999999999999.",
    "thousands": ",111" * 250_000 + "x",
    "thoughts": "<think>" * 100_000,
    "ends of thoughts": "</think>" * 100_000,
    "phrases": "answer:" * 100_000,
    "a phrase and white space": "answer:" + " " * 500_000,
    "boxes": r"\boxed{" * 100_000 + "x",
    "tokens": "<|" * 300_000,
    "a token": "<|" + "a" * 900_000,
    "cells": ", " * 300_000,
    "a comma": "," + " " * 900_000,
    "letters": "A " * 400_000,
    "tags": "</think> <answer>" + " " * 800_000 + "x",
    "ten megabytes": "<answer>" * 1_300_000,
    "digits of another script": "٣" * 5000,
    "no characters": "\ud800\x00\x1b]52;c;eA==\x07" * 1000,
    "nothing": "",
    "marks": "*" * 100_000,
    "an exponent alone": "e9",
    "nothing by nothing": r"\boxed{0/0}",
    "a zero below": "The answer is 5/0.",
    "joined boxes": r"\boxed{1} or " * 50_000,
    "a table": "| - " * 100_000 + "\n",
}
ROWS: dict[str, dict[str, Any]] = {
    "math": {"answer": "5"},
    "number": {"answer": "5"},
    "choice": {"answer": "pear", "choices": ["pear", "fig"]},
    "exact": {"answer": "pear"},
    "format": {"answer": "pear"},
    "sql": {"answer": "3, 4"},
}


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """0.3 s of CPU an answer."""
    for name, verifier in VERIFIERS.items():
        monkeypatch.setitem(VERIFIERS, name, replace(verifier, timeout_s=0.3))


@pytest.mark.parametrize("name", ROWS)
def test_no_answer_takes_a_verifier_long_or_breaks_it(name: str, request: pytest.FixtureRequest) -> None:
    if name == "math":
        request.getfixturevalue("hurried")  # the others have their five seconds and need none of them
    row = {"prompt": "q", "verifier": name, **ROWS[name]}
    texts = [*LARGE.values(), *(ENDLESS.values() if name == "math" else ())]
    court = Court()
    assert court.rewards(name, [row] * len(texts), texts) == [0.0] * len(texts)
    assert court.broken == 0 and (name == "math" or court.killed == 0)


@pytest.mark.usefixtures("hurried")
def test_a_model_that_writes_nothing_else_does_not_end_the_run_and_is_counted(tmp_path: Path) -> None:
    """3 of 24 answers are killed, well above 5 %: they are wrong, in a figure of their own, and kept."""
    row = {"prompt": "q", "item_id": "r", "verifier": "math", "answer": "5"}
    court = Court(file=tmp_path / "kept.jsonl")
    texts = [r"\boxed{5}"] * 8 + [ENDLESS["tower"]] * 3 + [r"\boxed{5}"] * 13
    assert court.rewards("math", [row] * 24, texts) == [1.0] * 8 + [0.0] * 3 + [1.0] * 13
    found = court.figures([row] * 24)
    assert found["killed"] == pytest.approx(1 / 8) and found["broken"] == 0 and found["right"] == pytest.approx(7 / 8)
    kept = [json.loads(line) for line in (tmp_path / "kept.jsonl").read_text().splitlines()]
    assert len(kept) == 3 and kept[0]["error"] == "judging it took over 0.3 s of CPU"


@pytest.mark.usefixtures("hurried")
def test_a_pattern_that_an_answer_makes_endless_is_that_answers_loss() -> None:
    row = {"prompt": "q", "verifier": "format", "answer": "x", "format": "(a|aa)+b|(a+)+c"}
    court = Court()
    assert court.rewards("format", [row] * 3, ["aab", "a" * 60, "aac"]) == [1.0, 0.0, 1.0]
    assert (court.killed, court.broken) == (1, 0)


ALWAYS = """
from trainers.rlvr.verdict import Verifier, right

def verify(row, completion):
    while row["answer"] == "bomb":
        pass
    return right()

VERIFIERS = {"mine": Verifier(verify=lambda *asked: verify(*asked), about="", timeout_s=0.2)}
"""


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """The row `mine` of a plugin's file, as launch adds it."""

    def add(text: str) -> None:
        (tmp_path / "mine.py").write_text(text)
        found: dict[str, Any] = {}
        exec(text, found)
        row = replace(found["VERIFIERS"]["mine"], home=str(tmp_path / "mine.py"))
        monkeypatch.setitem(VERIFIERS, "mine", row)

    return add


def test_a_row_or_verifier_that_is_endless_whatever_is_said_has_broken(plugin: Callable[[str], None]) -> None:
    """Two bombs are allowed, as any broken verdicts; with three of 23 the run stops."""
    plugin(ALWAYS)
    good, bomb = ({"prompt": "q", "item_id": gold, "verifier": "mine", "answer": gold} for gold in ("ok", "bomb"))
    court = Court()
    assert court.rewards("mine", [good] * 20 + [bomb] * 2, ["x"] * 22) == [1.0] * 20 + [None] * 2
    assert (court.killed, court.broken) == (0, 2)
    message = (
        r"mine broke in 3 of its last 23 judgements.* judging even an empty answer took over 0.2 s of CPU on 'bomb'"
    )
    with pytest.raises(RuntimeError, match=message):
        court.rewards("mine", [bomb], ["x"])


def test_a_plugin_whose_worker_cannot_read_it_again_is_said(plugin: Callable[[str], None], tmp_path: Path) -> None:
    plugin(ALWAYS)
    (tmp_path / "mine.py").write_text("import no_such_module")
    with pytest.raises(EvalError, match=r"mine .*No module named 'no_such_module'.*mine.py:1"):
        check_rows([{"prompt": "q", "verifier": "mine", "answer": "x"}], "data.train")


BAD = [
    ({"verifier": "format", "format": "(a"}, r"verifier format: format '\(a' is no regular expression: missing \)"),
    ({"verifier": "format", "format": ["a"]}, "is no regular expression"),
    ({"verifier": "format", "format": "a{99999999999}"}, "is no regular expression"),
    ({"verifier": "format", "format": "(" * 5000}, "is no regular expression"),
    ({"verifier": {"exact": 1, "number": 1}}, "verifier number: the gold answer 'x' holds no number"),
    ({"verifier": "choice"}, "verifier choice: the gold answer 'x' is none of the options"),
    ({"verifier": "choice", "choices": ["a b", "c d"], "answer": "C"}, r"'C' is none of the options \['a b', 'c d'\]"),
    ({"verifier": "choice", "choices": "x"}, "choices 'x' are no list of two or more different options"),
    ({"verifier": "choice", "choices": ["x", "X "]}, "are no list of two or more different options"),
    ({"verifier": "choice", "choices": ["x", "y"], "answer": ["x", "z"]}, "the gold answer 'z' is none of the options"),
    ({"verifier": "number", "answer": ["1", "one"]}, "the gold answer 'one' holds no number"),
    ({"verifier": "number", "answer": "3-5"}, "the gold answer '3-5' holds no number"),
    ({"verifier": "sql", "answer": ", "}, "the gold answer ', ' has no cell"),
    ({"verifier": "exact", "answer": "."}, "verifier exact: the gold answer '.' says nothing"),
    ({"verifier": "math", "answer": "$$"}, r"verifier math: the gold answer '\$\$' is no mathematics"),
    ({"verifier": "nothing"}, "no such verifier"),
    ({"verifier": True}, "verifier True: no name"),
    ({"verifier": [""]}, r"verifier \[''\]: no name"),
    ({"verifier": {"exact": "1"}}, "verifier exact: its weight must be a number above 0, got '1'"),
    ({"verifier": {"exact": float("nan")}}, "its weight must be a number above 0, got nan"),
    ({}, "names no verifier"),
]


@pytest.mark.parametrize(("row", "message"), BAD)
def test_a_row_that_no_answer_can_be_judged_by_is_refused_with_its_place(row: dict[str, Any], message: str) -> None:
    rows = [{"prompt": "q", "answer": "x", "verifier": "exact"}, {"prompt": "the one", "answer": "x", **row}]
    with pytest.raises(TrainError, match=rf"data.train: row 2 of the mix \('the one'\): .*{message}"):
        check_rows(rows, "data.train")


def test_all_such_rows_are_told_of_at_once_and_a_few_are_named() -> None:
    rows = [{"prompt": f"p{i}", "answer": "x", "verifier": "number"} for i in range(9)]
    with pytest.raises(TrainError) as caught:
        check_rows(rows, "data.train")
    lines = str(caught.value).splitlines()
    assert len(lines) == 7 and "'p4'" in lines[4] and lines[5:] == ["and 4 more", "mend these rows, or leave them out"]


@pytest.mark.usefixtures("hurried")
def test_an_evaluations_answers_are_judged_in_the_same_bounds() -> None:
    row = {"prompt": "q", "answer": "5", "verifier": {"math": 1.0, "exact": 1.0}}
    items = [GenerateItem(item_id=str(i), prompt="q", gold="5", row=row) for i in range(3)]
    found = judged(judge_call(), [r"\boxed{9^{9^{9^{9}}}}", "5", "4"], items)
    assert [right for right, _ in found] == [False, True, False]
    assert found[0][1] == "judging it took over 0.3 s of CPU" and "is not" in found[2][1]
    broken = GenerateItem(item_id="b", prompt="q", gold="x", row={**row, "answer": "$$"})
    assert judged(judge_call(), ["5"], [broken])[0][1].startswith("verifier broke: ValueError: the gold answer")


def test_a_tasks_own_judge_and_rouge_are_in_bounds_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from eval_hooks.catalog import TASKS, Task

    item = GenerateItem(item_id="i", prompt="q", gold="3, 4")
    assert judged(task_call("sql"), ["4, 3.0", "4"], [item] * 2) == [(True, ""), (False, "expected 2 cells, got 1")]
    text = (
        "from eval_hooks.catalog import Task\n"
        "def judge(output, item):\n    while output == item.gold: pass\n    return output > 'b', str(item.row['k'])\n"
        "TASKS = {'mine': Task(kind='generate', about='', judge=judge)}\n"
    )
    (tmp_path / "mine.py").write_text(text)
    task = Task(kind="generate", about="", judge=lambda output, item: (True, ""), home=str(tmp_path / "mine.py"))
    monkeypatch.setitem(TASKS, "mine", task)
    call = replace(task_call("mine"), cpu_s=0.2)
    whole = replace(item, row={"k": 1})
    assert judged(call, ["3, 4", "c"], [whole] * 2) == [(False, "judging it took over 0.2 s of CPU"), (True, "1")]
    with pytest.raises(EvalError, match="i: its judge broke: KeyError"):
        judged(call, ["c"], [item])
    with pytest.raises(EvalError, match="i: judging even an empty answer took over 0.2 s of CPU"):
        judged(call, [""], [replace(whole, gold="")])
    monkeypatch.setattr(judging, "ROUGE_L", replace(judging.ROUGE_L, cpu_s=0.2))
    long = "word " * 30_000
    assert judging.rouge_l_recalls(["the cat ran off", long], ["the black cat ran away", long])[1] is None


def test_a_scripts_own_judge_is_called_as_it_is() -> None:
    item = GenerateItem(item_id="i", prompt="q", gold="g")
    assert judged(lambda output, item: (output == item.gold, "why"), ["g", "h"], [item] * 2) == [
        (True, "why"), (False, "why")]  # fmt: skip
