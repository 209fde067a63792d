"""Which items flipped, to read: the right ones, the surest wrong answer first, with the words of question and options."""

from eval_hooks.items import ChoiceItem
from eval_hooks.results.flips import TAIL, tail
from eval_hooks.retention.reading import flips_to_read
from eval_hooks.table import recall_table
from tests.eval_hooks.tables import answers, choices


def asked(n: int) -> dict[str, ChoiceItem]:
    return {
        str(i): ChoiceItem(item_id=str(i), subject="s", question=f"Which is {i}?", choices=("one", "two"), gold=0)
        for i in range(n)
    }


def test_the_surest_wrong_answer_comes_first_and_says_what_it_was_before() -> None:
    """Items 0, 1 and 3 are lost with confidences 1/(1+e^-1) = .731, 1/(1+e^-3) = .953 and .881; 2 is gained; 4 stays."""
    before = choices([[1, 0], [2, 0], [0, 2], [1, 0], [1, 0]], [0] * 5)
    after = choices([[0, 1], [0, 3], [1, 0], [0, 2], [2, 0]], [0] * 5)
    rows = flips_to_read(before, after, asked(5))
    assert [(row["flip"], row["item_id"]) for row in rows] == [
        ("lost", "1"),
        ("lost", "3"),
        ("lost", "0"),
        ("gained", "2"),
    ]
    first = rows[0]
    assert (first["question"], first["gold"], first["before"], first["after"]) == (
        "Which is 1?",
        "A. one",
        "A. one",
        "B. two",
    )
    assert (round(first["conf_before"], 3), round(first["conf_after"], 3)) == (0.881, 0.953)
    assert [row["item_id"] for row in flips_to_read(before, after, asked(5), most=1)] == ["1", "2"]


def test_options_without_words_are_letters() -> None:
    (row,) = flips_to_read(choices([[1, 0]], [0]), choices([[0, 1]], [0]), {})
    assert (row["question"], row["gold"], row["after"]) == ("", "A", "B")


def test_free_answers_keep_their_order_and_have_no_confidence() -> None:
    rows = flips_to_read(answers(["x", "b", "z"], ["x", "y", "z"]), answers(["a", "y", "c"], ["x", "y", "z"]), {})
    assert [(r["flip"], r["item_id"], r["before"], r["after"]) for r in rows] == [
        ("lost", "0", "x", "a"),
        ("lost", "2", "z", "c"),
        ("gained", "1", "b", "y"),
    ]
    assert {row["conf_after"] for row in rows} == {None}


def test_an_answer_that_was_not_written_is_right_or_wrong() -> None:
    row = {"task": "t", "item_id": "0", "prompt": "p", "output": None, "gold": "g", "value": "g"}
    sides = [recall_table([{**row, "correct": right}]) for right in (True, False)]
    (found,) = flips_to_read(*sides, {})
    assert (found["before"], found["after"], found["flip"]) == ("right", "wrong", "lost")


def test_a_long_prompt_shows_its_end() -> None:
    assert tail("x" * TAIL + "?") == "… " + "x" * (TAIL - 1) + "?"
    assert tail("short") == "short"
