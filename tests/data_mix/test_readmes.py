"""Installed packages' descriptions: prose only, seeded, no package in two splits."""

from random import Random

import pytest

from data_mix.sources.readmes import Readmes, pieces, prose, rows
from data_mix.splits import split_of_name


def test_prose_by_hand() -> None:
    """Badges, tables, directives and fences go; paragraphs stay apart."""
    text = "# Name\n[![x](y)](z)\n\nWords and\nmore words.\n\n| a | b |\n|---|---|\n\n.. code::\n\n  <br>\nEnd.\n"
    assert prose(text) == "# Name\n\nWords and\nmore words.\n\nEnd."


def test_pieces_are_whole_paragraphs_up_to_a_length() -> None:
    text = "aaaa\n\nbb\n\ncccccccccc\n\nd"
    assert list(pieces(text, 8)) == ["aaaa\n\nbb", "cccccccccc", "d"] and list(pieces(text, 99)) == [text]


def test_splits_share_no_package_and_a_seed_gives_the_same_rows() -> None:
    train, held = (list(rows(Readmes(split=split), Random(0))) for split in ("train", "validation"))  # type: ignore[arg-type]
    assert len(train) > 20 and held and not {r["package"] for r in train} & {r["package"] for r in held}
    assert all(split_of_name(row["package"]) == "train" and len(row["text"]) >= 200 for row in train)
    assert list(rows(Readmes(n=3), Random(1))) == train[:3]
    assert list(rows(Readmes(seed=1, n=3), Random(0))) != train[:3]


def test_a_number_of_rows_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="n must be above 0, got 0"):
        Readmes(n=0)
