"""Right options counted from one are not scored one too high, whoever names them; all bad lines are named at once."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from eval_hooks import EvalError
from eval_hooks.catalog import TASKS, Task
from eval_hooks.config import TaskSpec
from eval_hooks.harness.ask import ask
from eval_hooks.harness.load import load as load_harness
from eval_hooks.items import ChoiceItem, ChoiceSet
from eval_hooks.ready import Reader, load_items
from eval_hooks.tasks.mmlu import load

HEADER = "subject,idx,question,A,B,C,D,answer\n"


def item(i: int, gold: int) -> ChoiceItem:
    return ChoiceItem(item_id=f"all/{i}", subject="all", question=f"q{i}", choices=tuple("wxyz"), gold=gold)


def plugin(golds: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """A plugin's choice task whose loader makes its items itself."""
    items = ChoiceSet(items=tuple(item(i, gold) for i, gold in enumerate(golds)))
    row = Task(kind="choice", about="", load=lambda spec: items, home="/home/me/mine.py")
    monkeypatch.setitem(TASKS, "mine", row)


def test_a_plugins_items_without_a_first_option_are_refused_unless_it_says_how_it_counts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spec = TaskSpec(task="mine", shots=0)
    plugin([1, 2, 3] * 8, monkeypatch)
    with pytest.raises(EvalError, match=r"mine: all/0: answer 1: 24 answers are numbers and none is 0.*mine\.py"):
        load_items(spec)
    assert len(load_items(replace(spec, gold_base=0)).items) == 24  # type: ignore[union-attr]
    plugin([1, 2, 3] * 8 + [0], monkeypatch)
    assert len(load_items(spec).items) == 25  # type: ignore[union-attr]
    plugin([1, 2, 3], monkeypatch)  # three say nothing: one in three such sets has no first option
    assert len(load_items(spec).items) == 3  # type: ignore[union-attr]


@pytest.mark.parametrize("gold", [4, -1])
def test_an_item_has_no_right_option_that_there_is_not(gold: int) -> None:
    """The last of four, counted from one; -1 would be the last one, as Python counts."""
    with pytest.raises(EvalError, match=rf"all/7: gold {gold} is none of the 4 options, which count from 0"):
        item(7, gold)


@pytest.mark.parametrize(
    ("answers", "more", "said"),
    [
        ([1, 2, 3], {}, r"document 0: answer 1: 3 answers are numbers and none is 0.*doc_to_target: .*answer - 1"),
        ([1, 2, 2], {"gold_base": 1}, "gold_base 1: lm-eval reads the number itself; write doc_to_target"),
        ([1, 2, 2], {"gold_base": 0}, None),
        ([1, 2, 0], {}, None),
        (["y", "z", "z"], {}, None),
    ],
)
def test_a_yaml_file_for_lm_eval_is_asked_how_it_counts_too(
    tmp_path: Path, tokenizer: Any, answers: list[Any], more: dict[str, Any], said: str | None
) -> None:
    pytest.importorskip("lm_eval", reason="lm-eval is not installed: pip install 'tempering[eval]'")
    rows = [{"question": f"q{i}", "choices": list("xyz"), "answer": answer} for i, answer in enumerate(answers)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = {
        "task": "mine", "dataset_path": "json", "dataset_kwargs": {"data_files": {"test": str(tmp_path / "rows.jsonl")}},
        "test_split": "test", "output_type": "multiple_choice", "doc_to_text": "{{question}}", "doc_to_target": "{{answer}}",
        "doc_to_choice": "{{choices}}", "metric_list": [{"metric": "acc"}],
    }  # fmt: skip
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(task))
    spec = TaskSpec(task="lm_eval:mine", include_path=str(tmp_path), **more)
    reader = Reader(tokenizer=tokenizer, template_kwargs={}, max_length=512)
    if said is None:
        assert ask(load_harness(spec), spec, reader).kind == "choice"
    else:
        with pytest.raises(EvalError, match=said):
            ask(load_harness(spec), spec, reader)


def test_all_bad_lines_of_both_files_are_named_at_once(tmp_path: Path) -> None:
    """No JSON, no options, an answer that is none of them, half of a character; dev rows as well."""
    good = {"question": "q", "choices": list("wxyz"), "answer": "A"}
    lines = ["{", json.dumps(good), json.dumps({"question": "q"}), json.dumps({**good, "answer": "E"}), "[1]",
             json.dumps({**good, "question": "\ud800"})]  # fmt: skip
    (tmp_path / "test.jsonl").write_text("".join(line + "\n" for line in lines))
    (tmp_path / "dev.csv").write_text(HEADER + "art,0,q,a,b,c,d,A,x\nart,1,q,a,b,c,d,F\n")
    with pytest.raises(EvalError) as caught:
        load(TaskSpec(task="mmlu", path=str(tmp_path), shots=1))
    found = str(caught.value).splitlines()
    places = [line.removeprefix(f"{tmp_path}/").split(": ")[0] for line in found]
    assert places == [*(f"test.jsonl:{i}" for i in (1, 3, 4, 5, 6)), "dev.csv:2", "dev.csv:3"]


def test_of_very_many_bad_lines_the_first_are_named_and_the_rest_counted(tmp_path: Path) -> None:
    (tmp_path / "test.jsonl").write_text("{\n" * 1500)
    with pytest.raises(EvalError) as caught:
        load(TaskSpec(task="mmlu", path=str(tmp_path), shots=0))
    found = str(caught.value).splitlines()
    assert (
        len(found) == 21
        and found[19].startswith(f"{tmp_path}/test.jsonl:20: not JSON")
        and found[20] == "and 1,480 more"
    )


def test_all_ids_that_are_there_twice_are_named(tmp_path: Path) -> None:
    (tmp_path / "test.csv").write_text(HEADER + "".join(f"art,{i % 3},q{i},a,b,c,d,A\n" for i in range(8)))
    with pytest.raises(
        EvalError, match=r"3 items are called art/0; .*\n.*3 items are called art/1; .*\n.*two items .*art/2"
    ):
        load(TaskSpec(task="mmlu", path=str(tmp_path), shots=0))
