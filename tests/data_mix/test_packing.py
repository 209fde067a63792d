"""Packing invariants: every token once and in order, documents apart or together as asked."""

from typing import Any

import pytest
from datasets import Dataset

from data_mix.packing import Packing, laid_end_to_end, pack

DOCS = [[10 * d + i for i in range(n)] for d, n in enumerate((3, 7, 1, 9, 4), 1)]
ROWS = [{"input_ids": doc, "labels": [-100, *doc[1:]]} for doc in DOCS]


def flat(rows: Any, column: str = "input_ids") -> list[int]:
    return [token for row in rows for token in row[column]]


def test_laid_end_to_end_by_hand() -> None:
    """24 tokens in rows of 5: 3 + 2 | 5 | 1 + 4 | 5 | 4."""
    found = list(laid_end_to_end(ROWS, 5))
    assert [row["seq_lengths"] for row in found] == [[3, 2], [5], [1, 4], [5], [4]]
    assert flat(found) == [token for doc in DOCS for token in doc]
    assert flat(found, "labels") == [label for row in ROWS for label in row["labels"]]
    assert all(sum(row["seq_lengths"]) == len(row["input_ids"]) == len(row["labels"]) for row in found)


@pytest.mark.parametrize("strategy", ["wrapped", "bfd_split"])
@pytest.mark.parametrize("length", [2, 5, 9, 100])
def test_no_token_is_lost_or_doubled_and_pieces_are_in_order(strategy: str, length: int) -> None:
    found = pack(Dataset.from_list(ROWS), Packing(length=length, strategy=strategy))
    assert sorted(flat(found)) == sorted(token for doc in DOCS for token in doc)
    for doc in DOCS:
        places = [flat(found).index(token) for token in doc]
        assert strategy == "bfd_split" or places == sorted(places)
    assert all(len(row["input_ids"]) <= length for row in found)


@pytest.mark.parametrize("strategy", ["wrapped", "bfd", "bfd_split"])
@pytest.mark.parametrize("across", [False, True])
def test_rows_carry_their_documents_lengths_where_they_are_kept_apart(strategy: str, across: bool) -> None:
    found = pack(Dataset.from_list(ROWS), Packing(length=9, strategy=strategy, across=across))
    assert ("seq_lengths" in found.column_names) != across
    if not across:
        assert all(sum(row["seq_lengths"]) == len(row["input_ids"]) for row in found)
