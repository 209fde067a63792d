"""What items ask, in words."""

from eval_hooks.config import TaskSpec
from eval_hooks.ready import load_items
from eval_hooks.wording import wordings


def test_an_options_item_is_its_question_with_the_right_option() -> None:
    items = load_items(TaskSpec(task="pocket", shots=5, limit=57))
    first = wordings(items)[0]
    item = items.items[0]  # type: ignore[union-attr]
    assert (first.item_id, first.question, first.answer) == (item.item_id, item.question, item.choices[item.gold])
    assert len(wordings(items)) == 57


def test_a_row_is_the_last_thing_a_person_says_with_its_gold_answer() -> None:
    chat = [{"role": "system", "content": "s"}, {"role": "user", "content": "1?"}, {"role": "assistant", "content": "x"},
            {"role": "user", "content": "2?"}]  # fmt: skip
    rows = [{"prompt": chat, "answer": 7}, {"prompt": "plain", "completion": "c"}]
    made = wordings(load_items(TaskSpec(task="verified"), rows))
    assert [(one.item_id, one.question, one.answer) for one in made] == [
        ("test/0", "2?", "7"),
        ("test/1", "plain", "c"),
    ]
