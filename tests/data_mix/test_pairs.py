"""Preference pairs: every shape brought to TRL's columns, and a source whose form gives nothing away."""

import json
from random import Random
from typing import Any

import numpy as np
import pytest

from data_mix import DataError
from data_mix.config import SourceSpec
from data_mix.forms import PairRow, encode_pair
from data_mix.render import Dropped, Rendering
from data_mix.shapes import normalise, shape_of
from data_mix.sources.sql import Sql
from data_mix.sources.sql.pairs import form, rows

USER = {"role": "user", "content": "Hi"}
YES, NO = {"role": "assistant", "content": "Hello"}, {"role": "assistant", "content": "Go away"}
DUE = {"prompt": [USER], "chosen": [YES], "rejected": [NO]}


def shaped(row: dict[str, Any], **settings: Any) -> dict[str, Any]:
    return normalise(row, SourceSpec(name="x", **settings), "x row 1")


@pytest.mark.parametrize(
    "row",
    [
        DUE,
        {"prompt": "Hi", "chosen": [YES], "rejected": [NO]},
        {"chosen": [USER, YES], "rejected": [USER, NO]},
        {"prompt": [USER], "chosen": [USER, YES], "rejected": [USER, NO]},
        {"prompt": [USER], "chosen": "Hello", "rejected": "Go away"},
        {"conversations": [{"from": "human", "value": "Hi"}], "chosen": {"from": "gpt", "value": "Hello"},
         "rejected": {"from": "gpt", "value": "Go away"}},
        {"prompt": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}], "chosen": [YES], "rejected": [NO]},
        {"chosen": "\n\nHuman: Hi\n\nAssistant: Hello", "rejected": "\n\nHuman: Hi\n\nAssistant: Go away"},
    ],
    ids=["trl", "text prompt", "implicit prompt", "prompt inside", "text answers", "sharegpt", "text parts", "hh"],
)  # fmt: skip
def test_every_shape_becomes_prompt_chosen_rejected(row: dict[str, Any]) -> None:
    assert shaped(row) == DUE
    assert shape_of(shaped(row)) == "prompt+chosen+rejected"


def test_plain_text_stays_plain_text() -> None:
    row = {"prompt": "2 + 2 =", "chosen": " 4", "rejected": " 5"}
    assert shaped(row) == row


def test_a_system_message_goes_before_the_prompt() -> None:
    found = shaped({"prompt": "Hi", "chosen": [YES], "rejected": [NO]}, system="Be brief.")
    assert found["prompt"] == [{"role": "system", "content": "Be brief."}, USER]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"prompt": "a", "chosen": "b", "rejected": "b"}, "x row 1: chosen and rejected are equal"),
        ({"prompt": "a", "chosen": "b", "rejected": " "}, "x row 1 rejected: empty"),
        ({"prompt": "", "chosen": "b", "rejected": "c"}, "x row 1 prompt: empty; "),
        ({"prompt": "\u200b ", "chosen": "b", "rejected": "c"}, "x row 1 prompt: empty to the eye"),
        ({"chosen": "b", "rejected": "c"}, "x row 1: no prompt that chosen and rejected answer"),
        ({"prompt": "Bye", "chosen": [USER, YES], "rejected": [USER, NO]}, "chosen: the prompt is not a prefix of it"),
        ({"prompt": "Hi", "chosen": [USER], "rejected": [NO]}, "chosen: no answer after the prompt"),
        ({"prompt": "Hi", "chosen": [{"role": "chef", "content": "x"}], "rejected": [NO]}, "role 'chef' is not known"),
    ],
)
def test_a_pair_that_cannot_be_is_refused_by_row(row: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        shaped(row)


@pytest.mark.parametrize("prompt", [None, [YES, USER]], ids=["inside", "apart"])
def test_a_pair_may_open_with_a_greeting(prompt: Any) -> None:
    """The greeting is the prompt's, not the answer's, with or without a column of its own."""
    row = {"chosen": [YES, USER, YES], "rejected": [YES, USER, NO], **({"prompt": prompt} if prompt else {})}
    assert shaped(row) == {**DUE, "prompt": [YES, USER]}


def test_tokens_are_prompt_then_answer_with_its_end_and_no_more(tokenizer: Any) -> None:
    (row,) = encode_pair(DUE, tokenizer, Rendering())
    assert isinstance(row, PairRow)
    assert tokenizer.decode(row.prompt_ids).endswith("user\nHi<|im_end|>\n<|im_start|>assistant\n")
    assert tokenizer.decode(row.chosen_ids) == "Hello<|im_end|>"
    assert tokenizer.decode(row.rejected_ids) == "Go away<|im_end|>"


def test_a_pair_that_does_not_fit_or_parts_early_is_dropped_with_its_reason(tokenizer: Any) -> None:
    (long,) = encode_pair(DUE, tokenizer, Rendering(max_length=5))
    assert isinstance(long, Dropped) and "max_length 5" in long.reason
    more = {**DUE, "chosen": [YES, USER, YES]}
    (early,) = encode_pair(more, tokenizer, Rendering())
    assert isinstance(early, Dropped) and early.reason == "chosen and rejected part before their last turn"


def test_a_prompt_that_its_answers_swallow_is_refused(tokenizer: Any) -> None:
    """`ax` and `ay` are one token each, so nothing would stand before the answers; behind a line break they do not."""
    with pytest.raises(DataError, match="the prompt has no token of its own before the answers"):
        encode_pair({"prompt": "a", "chosen": "x", "rejected": "y"}, tokenizer, Rendering())
    (found,) = encode_pair({"prompt": "a\n", "chosen": "x", "rejected": "y"}, tokenizer, Rendering())
    assert tokenizer.decode(found.prompt_ids) == "a\n"  # type: ignore[union-attr]


def test_answers_that_differ_in_no_token_are_refused(tokenizer: Any) -> None:
    with pytest.raises(DataError, match="the same tokens"):
        encode_pair({**DUE, "rejected": [{**YES, "note": "a copy"}]}, tokenizer, Rendering())


SMALL = {"skeletons": ("easy",), "min_columns": 2, "max_columns": 3, "min_rows": 3, "max_rows": 5}


def test_both_results_have_the_same_form_and_the_chosen_is_the_engines() -> None:
    from data_mix.sources.sql import answer_text
    from data_mix.sources.sql.execute import run
    from data_mix.sources.sql.tables import Table

    found = list(rows(Sql(n=60, **SMALL), Random(0)))
    assert len(found) == 60
    for row in found:
        chosen, rejected = row["chosen"][0]["content"], row["rejected"][0]["content"]
        table = Table(columns=tuple(row["table"]["columns"]), kinds=tuple(row["table"]["kinds"]),
                      rows=tuple(map(tuple, row["table"]["rows"])))  # fmt: skip
        assert answer_text(run(table, row["sql"])) == chosen != rejected
        assert form(chosen) == form(rejected)


def test_length_does_not_give_the_right_one_away() -> None:
    """100 pairs: to take the longer (or the shorter) answer is right in about as many as it is wrong, sign test."""
    from scipy.stats import binomtest

    found = list(rows(Sql(n=100, **SMALL), Random(0)))
    gaps = np.array([len(r["chosen"][0]["content"]) - len(r["rejected"][0]["content"]) for r in found])
    longer, shorter = int((gaps > 0).sum()), int((gaps < 0).sum())
    assert binomtest(longer, longer + shorter).pvalue > 0.01


def test_the_same_settings_give_the_same_pairs() -> None:
    one, two = (json.dumps(list(rows(Sql(n=20, **SMALL), Random(i)))) for i in (0, 1))
    assert one == two
