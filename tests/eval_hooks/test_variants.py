"""The four prompts, byte for byte."""

import csv
from pathlib import Path

import pytest

from eval_hooks.config import Variant
from eval_hooks.items import ChoiceItem
from eval_hooks.variants import FORMS, continuations, messages, prompt

SHOT = ChoiceItem(
    item_id="solid_geometry/0",
    subject="solid_geometry",
    question="How many faces has a cube?",
    choices=("4", "6", "8", "12"),
    gold=1,
)
ITEM = ChoiceItem(
    item_id="solid_geometry/1",
    subject="solid_geometry",
    question=" How many edges has it? ",
    choices=("4", "6", "8", "12"),
    gold=3,
)
GOLDEN: dict[Variant, bytes] = {
    "hendrycks": b"The following are multiple choice questions (with answers) about  solid geometry.\n\n"
    b"How many faces has a cube?\nA. 4\nB. 6\nC. 8\nD. 12\nAnswer: B\n\n How many edges has it? \nA. 4\nB. 6\nC. 8\nD. 12\nAnswer:",
    "lm_eval": b"The following are multiple choice questions (with answers) about solid geometry.\n\n"
    b"How many faces has a cube?\nA. 4\nB. 6\nC. 8\nD. 12\nAnswer: B\n\nHow many edges has it?\nA. 4\nB. 6\nC. 8\nD. 12\nAnswer:",
    "olmes_mcf": b"The following are multiple choice questions (with answers) about solid geometry.\n\n"
    b"Question: How many faces has a cube?\n A. 4\n B. 6\n C. 8\n D. 12\nAnswer: B\n\n"
    b"Question:  How many edges has it? \n A. 4\n B. 6\n C. 8\n D. 12\nAnswer:",
    "olmes_cf": b"The following are multiple choice questions (with answers) about solid geometry.\n\n"
    b"Question: How many faces has a cube?\nAnswer: 6\n\nQuestion:  How many edges has it? \nAnswer:",
}


@pytest.mark.parametrize("variant", list(FORMS))
def test_prompt_bytes_are_golden(variant: Variant) -> None:
    assert prompt(ITEM, [SHOT], variant).encode() == GOLDEN[variant]


@pytest.mark.parametrize("variant", list(FORMS))
def test_what_is_scored_is_a_letter_or_the_option_text_after_a_space(variant: Variant) -> None:
    expected = [" 4", " 6", " 8", " 12"] if variant == "olmes_cf" else [" A", " B", " C", " D"]
    assert continuations(ITEM, variant) == expected


def test_the_two_letter_prompts_differ_by_exactly_one_byte_on_a_clean_subject() -> None:
    ours, theirs = (prompt(SHOT, [SHOT], variant) for variant in ("hendrycks", "lm_eval"))
    assert len(ours) == len(theirs) + 1
    assert ours.replace("about  ", "about ") == theirs


def test_real_mmlu_rows_keep_the_text_none_as_an_option(shared_data: Path) -> None:
    """Pandas would read it as a missing value."""
    from eval_hooks.config import TaskSpec
    from eval_hooks.tasks.mmlu import load

    with (shared_data / "mmlu" / "dev.csv").open(newline="", encoding="utf-8") as handle:
        n_dev = sum(1 for _ in csv.DictReader(handle))
    assert n_dev == 285
    items = load(TaskSpec(task="mmlu", path=str(shared_data / "mmlu"))).items
    assert len(items) == 11213
    assert any("None" in item.choices for item in items)


def test_as_a_conversation_the_header_is_the_system_message_and_shots_are_turns_or_stand_in_the_questions() -> None:
    """Byte for byte what the plain prompt holds; an answered option has no space before it in a turn of its own."""
    header = "The following are multiple choice questions (with answers) about solid geometry.\n\n"
    shot, question = (
        "How many faces has a cube?\nA. 4\nB. 6\nC. 8\nD. 12\nAnswer:",
        "How many edges has it?\nA. 4\nB. 6\nC. 8\nD. 12\nAnswer:",
    )
    assert messages(ITEM, [SHOT], "lm_eval") == [
        {"role": "system", "content": header},
        {"role": "user", "content": shot},
        {"role": "assistant", "content": "B"},
        {"role": "user", "content": question},
    ]
    assert messages(ITEM, [SHOT], "lm_eval", multiturn=False) == [
        {"role": "system", "content": header},
        {"role": "user", "content": f"{shot} B\n\n{question}"},
    ]
