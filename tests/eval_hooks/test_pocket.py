"""The rules that the pocket bank was written by, held over all 855 items; and how it is read."""

import re
from collections import Counter

import pytest

from eval_hooks.config import TaskSpec
from eval_hooks.errors import EvalError
from eval_hooks.items import ChoiceItem
from eval_hooks.tasks.mmlu import load as load_mmlu
from eval_hooks.tasks.pocket import bank, load

DEV, TEST = bank("dev"), bank("test")
ALL = [*DEV, *TEST]


def plain(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.casefold()))


def longest(item: ChoiceItem) -> bool:
    """The right option is longer than every other."""
    right = len(item.choices[item.gold])
    return all(right > len(choice) for i, choice in enumerate(item.choices) if i != item.gold)


def test_every_subject_has_five_dev_and_ten_test_questions_with_four_options() -> None:
    assert len(ALL) == 855
    assert Counter(Counter(item.subject for item in DEV).values()) == {5: 57}
    assert Counter(Counter(item.subject for item in TEST).values()) == {10: 57}
    assert all(len({choice.casefold() for choice in item.choices}) == 4 for item in ALL)
    assert len({item.item_id for item in TEST}) == 570


@pytest.mark.parametrize("items", [DEV, TEST], ids=["dev", "test"])
def test_no_letter_is_right_more_often_than_the_others(items: list[ChoiceItem]) -> None:
    counts = Counter(item.gold for item in items)
    assert all(0.22 <= counts[letter] / len(items) <= 0.28 for letter in range(4))


def test_length_gives_nothing_away() -> None:
    assert sum(map(longest, ALL)) / len(ALL) <= 0.30
    for item in ALL:
        lengths = [len(choice) for choice in item.choices]
        assert max(lengths) - min(lengths) <= 12 or max(lengths) <= 2.5 * min(lengths), item


def test_no_question_comes_twice_and_no_option_speaks_of_the_others() -> None:
    assert len({plain(item.question) for item in ALL}) == 855
    options = [plain(choice) for item in ALL for choice in item.choices]
    assert not [o for o in options if re.search(r"\b(all|none|both|two) of (the above|these|them)\b|\babove\b", o)]


def test_no_right_option_stands_in_its_question() -> None:
    given = [
        i
        for i in ALL
        if len(plain(i.choices[i.gold])) > 3 and f" {plain(i.choices[i.gold])} " in f" {plain(i.question)} "
    ]
    assert not given


def test_the_subjects_are_those_of_mmlu(shared_data: object) -> None:
    real = load_mmlu(TaskSpec(task="mmlu", path=f"{shared_data}/mmlu", limit=57))
    assert {item.subject for item in TEST} == {item.subject for item in real.items}


def test_no_question_is_one_of_mmlus(shared_data: object) -> None:
    real = load_mmlu(TaskSpec(task="mmlu", path=f"{shared_data}/mmlu", shots=0))
    assert not {plain(item.question) for item in ALL} & {plain(item.question) for item in real.items}


def test_dev_is_its_own_split_and_gives_the_shots_of_test() -> None:
    chosen = load(TaskSpec(task="pocket", shots=3, limit=57))
    assert len(chosen.items) == 57
    assert all(len(rows) == 3 for rows in chosen.dev.values())
    assert len(load(TaskSpec(task="pocket", split="validation", shots=0)).items) == 285
    with pytest.raises(EvalError, match="score it at shots: 0"):
        load(TaskSpec(task="pocket", split="dev"))
    with pytest.raises(EvalError, match="there are test and dev"):
        load(TaskSpec(task="pocket", split="train", shots=0))
    with pytest.raises(EvalError, match="the bank is embedded"):
        load(TaskSpec(task="pocket", path="x"))
