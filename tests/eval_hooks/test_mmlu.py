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
    assert load(spec(folder / "other.jsonl")).items == load(spec(folder)).items


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
