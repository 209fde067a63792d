"""MMLU from files and from the hub's form: what is missing or malformed is named before anything is scored."""

import json
from pathlib import Path
from typing import Any

import pytest

from eval_hooks.config import TaskSpec
from eval_hooks.errors import EvalError
from eval_hooks.ready import load_items
from eval_hooks.tasks.mmlu import load
from tests.eval_hooks.tables import choices

HEADER = "subject,idx,question,A,B,C,D,answer\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "dev.csv").write_text(HEADER + "art,0,q0,a,b,c,d,A\nart,1,q1,a,b,c,d,B\n")
    (tmp_path / "test.csv").write_text(HEADER + "".join(f"art,{i},q{i} ,None,b,c,d,C\n" for i in range(3)))
    return tmp_path


def spec(path: Path, **more: Any) -> TaskSpec:
    return TaskSpec(task="mmlu", path=str(path), **{"shots": 2, **more})


def test_items_keep_their_order_their_white_space_and_the_text_none(folder: Path) -> None:
    chosen = load(spec(folder))
    assert [item.item_id for item in chosen.items] == ["art/0", "art/1", "art/2"]
    assert chosen.items[0].question == "q0 "
    assert chosen.items[0].choices[0] == "None"
    assert [row.gold for row in chosen.dev["art"]] == [0, 1]


def test_json_lines_in_the_hubs_form_give_the_same(folder: Path) -> None:
    rows = [
        {"subject": "art", "idx": i, "question": f"q{i} ", "choices": ["None", "b", "c", "d"], "answer": 2}
        for i in range(3)
    ]
    (folder / "other.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert load(spec(folder / "other.jsonl", gold_base=0)).items == load(spec(folder)).items


def golds(folder: Path, answers: list[Any], **more: Any) -> list[int]:
    """What answers to questions with four options are read as, and a dev row whose answer is the first one."""
    rows = [{"question": f"q{i}", "choices": list("wxyz"), "answer": answer} for i, answer in enumerate(answers)]
    (folder / "own.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return [item.gold for item in load(spec(folder / "own.jsonl", **{"shots": 0, **more})).items]


def test_letters_of_either_case_and_numbers_from_the_base_on_name_options(folder: Path) -> None:
    assert golds(folder, ["a", "B", " c ", "d"]) == [0, 1, 2, 3]
    assert golds(folder, ["0", 1, "3"]) == [0, 1, 3]
    assert golds(folder, ["1", 2, "4"], gold_base=1) == [0, 1, 3]
    assert golds(folder, ["1", "2"], gold_base=0) == [1, 2]
    assert golds(folder, ["b", 1, 0]) == [1, 1, 0]


@pytest.mark.parametrize(
    ("answers", "more", "message"),
    [
        (
            ["1", "2", "3"],
            {},
            r"own.jsonl:1: answer 1: 3 answers are numbers and none is 0.*gold_base: 1, or gold_base",
        ),
        (["A", 2, 3], {}, r"own.jsonl:2: answer 2: 2 answers are numbers and none is 0"),
        (
            ["1", "4"],
            {},
            r"own.jsonl:2: answer .4. is none of the 4 options.*index 0 to 3 \(from 1 on with gold_base: 1",
        ),
        (["1", "0"], {"gold_base": 1}, r"own.jsonl:2: answer .0. is none of the 4 options.*index 1 to 4$"),
        (["1", "5"], {"gold_base": 1}, r"own.jsonl:2: answer .5. is none"),
        (["A", "e"], {}, r"own.jsonl:2: answer .e. is none"),
        (["A", "\u0131"], {}, r"own.jsonl:2: answer .*is none"),
        (["A", True], {}, r"own.jsonl:2: answer True is none"),
    ],
)
def test_an_answer_that_may_name_another_option_is_refused(
    folder: Path, answers: list[Any], more: dict[str, Any], message: str
) -> None:
    """Answers 1, 2, 3 of four options, counted from 0, would all be one too high; dotless i is no I."""
    with pytest.raises(EvalError, match=message):
        golds(folder, answers, **more)


def test_dev_rows_with_a_zero_say_how_the_file_beside_them_counts(tmp_path: Path) -> None:
    (tmp_path / "dev.csv").write_text(HEADER + "art,0,q,a,b,c,d,0\n")
    (tmp_path / "test.csv").write_text(HEADER + "art,0,p,a,b,c,d,2\nart,1,r,a,b,c,d,1\n")
    chosen = load(spec(tmp_path, shots=1))
    assert [item.gold for item in chosen.items] == [2, 1] and chosen.dev["art"][0].gold == 0


def test_a_gap_between_lettered_options_is_refused(tmp_path: Path) -> None:
    """Without B, C would be the second option and its letter B."""
    row = {"question": "q", "A": "a", "B": None, "C": "c", "answer": "A"}
    (tmp_path / "own.jsonl").write_text(json.dumps(row))
    with pytest.raises(EvalError, match=r"own.jsonl:1: there is no option B before C"):
        load(spec(tmp_path / "own.jsonl", shots=0))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shots": 3}, "subject art has 2 dev rows, shots is 3"),
        ({"subjects": ("music",)}, r"subjects \['music'\] are not in the data; there are: art"),
        ({"split": "validation"}, "no file for split 'validation'"),
    ],
)
def test_what_the_entry_asks_and_the_data_has_not(folder: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(EvalError, match=message):
        load(spec(folder, **change))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("art,3,q,a,b,c,d,E", r"test\.csv:5.*E"),
        ("art,0,q,a,b,c,d,A", "two items are called art/0"),
        ("art,3,q,a,b,c,d,A,x", r"test\.csv:5: more fields"),
    ],
)
def test_a_bad_row_is_named_by_file_and_line(folder: Path, line: str, message: str) -> None:
    with (folder / "test.csv").open("a") as handle:
        handle.write(line + "\n")
    with pytest.raises(EvalError, match=message):
        load(spec(folder))


def test_a_missing_folder_and_an_unreachable_hub_say_the_next_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(EvalError, match="no such file or folder"):
        load(spec(tmp_path / "none"))
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(EvalError, match="cais/mmlu.*or use task: pocket"):
        load(TaskSpec(task="mmlu"))


def test_the_hubs_rows_are_numbered_within_their_subject(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the network call returns in its place: two subjects interleaved."""
    import datasets

    def rows(path: str, subset: str, split: str) -> list[dict[str, Any]]:
        assert (path, subset, split) == ("cais/mmlu", "all", "test")
        return [{"subject": s, "question": "q", "choices": list("abcd"), "answer": 3} for s in ("x", "y", "x")]

    monkeypatch.setattr(datasets, "load_dataset", rows)
    assert [item.item_id for item in load(TaskSpec(task="mmlu", shots=0)).items] == ["x/0", "y/0", "x/1"]


def test_all_ties_on_the_real_test_rows_give_the_share_of_golds_a(shared_data: Path) -> None:
    """The first option wins every tie: about 23 % (3,222 of all 14,042), not 25 %, in any letter variant."""
    items = load(TaskSpec(task="mmlu", path=str(shared_data / "mmlu"), shots=5)).items
    table = choices([[0.0] * 4] * len(items), [item.gold for item in items])
    right = sum(table.column("correct").to_pylist())
    assert right == sum(item.gold == 0 for item in items) and 0.22 < right / len(items) < 0.24
    assert all(table.column("tie").to_pylist())


def test_real_validation_rows_are_there_to_fit_a_temperature_on(shared_data: Path) -> None:
    found = load_items(TaskSpec(task="mmlu", path=str(shared_data / "mmlu"), temperature_split="val"))
    assert found.validation is not None and len(found.validation.items) == 1531
    assert found.items != found.validation.items
