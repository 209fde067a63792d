"""What counts as the same text."""

from data_mix.overlap import Finder, Match, Wanted, normal, question_of, texts_of

LONG = "Which of the seven planets beside ours has rings that can be seen with a small glass?"


def found(texts: list[str], *wanted: Wanted) -> list[tuple[str, str]]:
    matches: list[Match] = Finder(wanted).find(texts)
    return [(match.wanted.name, match.how) for match in matches]


def test_words_are_what_is_left_of_a_text() -> None:
    """Ligature and full-width letters, case, punctuation, spaces."""
    assert normal("  The \ufb01rst,\n\uff21-B!  ") == "the first a b"


def test_the_strongest_way_a_text_was_found_is_told() -> None:
    wanted = Wanted(name="rings", text=LONG)
    assert found([LONG], wanted) == [("rings", "exact")]
    assert found([LONG.upper().replace("?", "")], wanted) == [("rings", "normalised")]
    assert found([f"Tell me. {LONG} Quick!"], wanted) == [("rings", "inside")]
    assert found([f"Tell me. {LONG} Quick!", LONG], wanted) == [("rings", "inside")]
    assert found([LONG.replace("seven", "eight")], wanted) == []


def test_a_short_question_needs_its_answer_beside_it() -> None:
    """`Which is true?` stands in many rows; with the right option in the same row it is the item."""
    wanted = Wanted(name="true", text="Which is true?", answer="Ice floats.")
    assert found(["which is true"], wanted) == []
    assert found(["which is true", "Ice floats on water"], wanted) == [("true", "normalised")]
    assert found(["Say which is true, please", "Ice floats"], wanted) == []
    assert found(["which is true"], Wanted(name="bare", text="Which is true?")) == []


def test_what_a_row_says_and_what_it_asks() -> None:
    chat = [{"role": "system", "content": "s"}, {"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    assert texts_of({"messages": chat}) == ["q", "a"]
    assert question_of({"messages": chat}) == "q"
    assert texts_of({"prompt": "p", "chosen": "c", "rejected": "r"}) == ["p", "c", "r"]
    assert question_of({"prompt": chat[:2], "completion": chat[2:]}) == "q"
    assert texts_of({"text": "t"}) == [question_of({"text": "t"})] == ["t"]


def test_several_gold_answers_are_texts_of_a_row() -> None:
    assert texts_of({"prompt": "q", "answer": ["a", "b"]}) == ["q", "a", "b"]
