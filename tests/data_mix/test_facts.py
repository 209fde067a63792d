"""Invented people: sides share nobody, values stand in their answers, the same seed gives the same rows."""

from random import Random
from typing import Any

import pytest

from data_mix.sources.facts import RELATIONS, SIDES, Facts, rows


def made(**settings: Any) -> list[dict[str, Any]]:
    return list(rows(Facts(**settings), Random(0)))


def test_sides_share_no_person_and_every_person_has_as_many_facts() -> None:
    found = made(sides=SIDES, people=5, facts=3)
    assert len(found) == 3 * 5 * 3
    people = {side: {row["item_id"].partition("/")[0] for row in found if row["side"] == side} for side in SIDES}
    assert all(len(names) == 5 for names in people.values())
    assert len(set.union(*people.values())) == 15
    assert len({row["item_id"] for row in found}) == len(found)


def test_the_value_stands_in_the_answer_and_in_no_wrong_one() -> None:
    for row in made(people=20, facts=6, wrong=4):
        assert row["value"] in row["completion"][0]["content"] and row["value"] in row["answer_again"]
        assert len(set(row["wrong_answers"])) == 4
        assert all(row["value"] not in wrong for wrong in row["wrong_answers"])
        person = row["item_id"].partition("/")[0]
        assert all(person in text for text in (row["prompt"][0]["content"], row["question_again"]))


def test_train_rows_and_scored_rows_agree_whatever_the_generator() -> None:
    both = list(rows(Facts(people=3), Random(1)))
    alone = list(rows(Facts(people=3, sides=("forget",)), Random(2)))
    assert alone == [row for row in both if row["side"] == "forget"]
    assert both != list(rows(Facts(people=3, seed=1), Random(1)))


def test_wrong_answers_are_in_the_other_wordings_form() -> None:
    """The truth ratio sets the right answer in other words against wrong ones in the same words."""
    for row in made(people=2, facts=6):
        assert all(wrong.replace(row["value"], "") != row["answer_again"] for wrong in row["wrong_answers"])
        relation = RELATIONS[row["item_id"].partition("/")[2]]
        name = row["item_id"].partition("/")[0]
        assert set(row["wrong_answers"]) <= {relation.answer_again.format(name=name, value=v) for v in relation.values}


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"people": 0}, "people must be between 1 and 133, got 0"), ({"facts": 7}, "facts must be between 1 and 6"),
     ({"wrong": 12}, "wrong must be between 1 and 11"), ({"sides": ()}, "sides is empty")],
)  # fmt: skip
def test_settings_that_cannot_be_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Facts(**settings)
