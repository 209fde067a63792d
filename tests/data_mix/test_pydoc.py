"""The standard library's documentation as rows: real text, reproducible, splits by module."""

from pathlib import Path
from random import Random
from typing import Any

import pytest

from data_mix.sources.pydoc import Pydoc, documentation, module_name, rows, split_of


def made(**settings: Any) -> list[dict[str, str]]:
    return list(rows(Pydoc(**settings), Random(0)))


def test_there_is_enough_text_in_every_split_and_no_module_in_two() -> None:
    splits = {split: made(split=split) for split in ("train", "validation", "test")}
    assert len(splits["train"]) > 1000
    assert all(len(found) > 50 for found in splits.values())
    tops = [{row["module"].partition(".")[0] for row in found} for found in splits.values()]
    assert not tops[0] & tops[1] and not tops[0] & tops[2] and not tops[1] & tops[2]


def test_the_same_seed_gives_the_same_rows_and_another_seed_others() -> None:
    found = made(n=20)
    assert len(found) == 20
    assert made(n=20) == found != made(n=20, seed=1)


def test_a_file_becomes_one_text_an_object(tmp_path: Path) -> None:
    file = tmp_path / "m.py"
    file.write_text(
        '"""About m."""\n\ndef f(a, b=1):\n    """Add.\n\n    Both.\n    """\n\ndef _hidden():\n    """No."""\n\n'
        'class C:\n    """A class."""\n\n    def g(self):\n        """Method."""\n\ndef bare(): ...\n'
    )
    assert list(documentation(file, "m")) == [
        "module m\n\nAbout m.",
        "m.f(a, b=1)\n\nAdd.\n\nBoth.",
        "class m.C\n\nA class.",
        "m.C.g(self)\n\nMethod.",
    ]


def test_a_file_that_does_not_parse_gives_nothing(tmp_path: Path) -> None:
    (tmp_path / "m.py").write_text("def (:\n")
    assert list(documentation(tmp_path / "m.py", "m")) == []


def test_names_and_splits_follow_the_package() -> None:
    assert module_name(Path("json/decoder.py")) == "json.decoder"
    assert module_name(Path("json/__init__.py")) == "json"
    assert split_of("json.decoder") == split_of("json")


def test_no_rows_is_refused() -> None:
    with pytest.raises(ValueError, match="n must be above 0"):
        Pydoc(n=0)
