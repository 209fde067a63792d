"""Small tasks: right answers, disjoint splits, seeded."""

from random import Random
from typing import Any

import pytest

from data_mix import DataError
from data_mix.sources.curriculum import Curriculum, rows


def made(**settings: Any) -> list[dict[str, Any]]:
    return list(rows(Curriculum(**settings), Random(0)))


def test_answers_are_right_by_reading_the_question_again() -> None:
    for row in made(n=90):
        text = row["prompt"][0]["content"]
        if row["kind"] == "last_word":
            due = text.removeprefix("List: ").partition(".")[0].split(", ")[-1]
        elif row["kind"] == "larger":
            due = max(text.removeprefix("Numbers: ").partition(".")[0].split(", "), key=int)
        else:
            due = str(sum(int(n) for n in text.removeprefix("What is ").rstrip("?").split(" + ")))
        assert row["answer"] == due


def test_kinds_come_in_turn_and_no_question_twice_nor_in_two_splits() -> None:
    train, test = made(n=60), made(n=30, split="test")
    assert [row["kind"] for row in train[:3]] == ["last_word", "larger", "sum"]
    texts = [row["prompt"][0]["content"] for row in (*train, *test)]
    assert len(set(texts)) == len(texts)


def test_the_same_settings_give_the_same_rows() -> None:
    assert made(n=20) == made(n=20) != made(n=20, seed=1)


def test_more_questions_than_there_are_is_said() -> None:
    with pytest.raises(DataError, match="different questions; lower n, or raise largest"):
        made(n=200, kinds=("sum",), largest=3)


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"n": 0}, "n must be above 0"), ({"kinds": ()}, "kinds is empty"), ({"words": 1}, "words must be 2 to 10"),
     ({"largest": 1}, "largest must be 2 or more")],
)  # fmt: skip
def test_settings_that_cannot_be_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Curriculum(**settings)
