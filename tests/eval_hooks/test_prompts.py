"""Two evaluations that were asked otherwise: the refusal shows the first place where they differ, on both sides."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from transformers import AutoTokenizer

from eval_hooks.config import TaskSpec
from eval_hooks.errors import EvalError
from eval_hooks.evaluate import other_prompts
from eval_hooks.evaluations import Evaluation, same_prompts
from eval_hooks.files import write_json
from eval_hooks.ready import Reader, load_items, ready
from eval_hooks.results.prompts import Prompts, difference, of_entry
from eval_hooks.retention import paired
from eval_hooks.table import choice_table, generate_table, write_table

LONG = "x" * 100


def choices(ids: list[str], tokens: int = 9, gold: int = 0) -> pa.Table:
    return choice_table(
        [{"task": "t", "item_id": i, "subject": "s", "variant": "olmes_cf", "shots": 0, "gold": gold, "copy_of": None,
          "logp": [-1.0, -2.0], "chars": [1, 1], "letter_mass": None, "prompt_tokens": tokens} for i in ids]
    )  # fmt: skip


def written(prompts: dict[str, str], gold: str = "g") -> pa.Table:
    return generate_table(
        [{"task": "t", "item_id": i, "prompt": text, "output": "", "gold": gold, "correct": False, "reason": "",
          "n_tokens": 1, "hit_limit": False, "copy_of": None} for i, text in prompts.items()]
    )  # fmt: skip


def side(where: str, table: pa.Table | None, first: str = "", **entry: Any) -> Prompts:
    return of_entry(where, {"first_prompt": first, **entry}, table)


def test_the_first_item_that_was_asked_otherwise_is_shown_with_what_is_around() -> None:
    """Equal for 101 characters; 40 before and 40 from there on (`: who?`, a line's end and 33 x) are shown."""
    a = side("A", written({"i/0": "same", "i/1": f"{LONG}Q: who?\n{LONG}", "i/2": "other"}))
    b = side("B", written({"i/0": "same", "i/1": f"{LONG}Q, who?", "i/2": "too"}))
    before = "x" * 39
    assert difference(a, b) == (
        f"item i/1 from character 102 on: ...'{before}Q: who?\\n{'x' * 33}'... in A, ...'{before}Q, who?' in B"
    )


def test_of_options_the_first_prompt_is_known_and_the_length_of_all() -> None:
    a, b = (side(name, choices(["i/0", "i/1"]), f"{name} says") for name in "AB")
    assert difference(a, b) == "item i/0 from character 1 on: 'A says' in A, 'B says' in B"
    a, b = (side(name, choices(["i/0", "i/1"], tokens), "alike") for name, tokens in (("A", 9), ("B", 10)))
    assert difference(a, b) == "the prompt of item i/0 has 9 tokens in A, 10 in B"
    a = side("A", None, "A says")
    assert difference(a, side("B", None, "B says")).startswith("the first prompt from character 1 on")


def test_settings_items_and_right_answers_are_named_with_both_values() -> None:
    a = side("A", choices(["i/0", "i/1"]), "p", variant="mmlu", shots=5)
    b = side("B", choices(["i/0", "k/7", "k/8"]), "p", variant="olmes_cf", shots=0)
    assert difference(a, b) == (
        "variant mmlu in A, olmes_cf in B; shots 5 in A, 0 in B; 2 items in A, 3 in B; item 2 is i/1 in A, k/7 in B"
    )
    golds = [side(name, written({"i/0": "p"}, gold), "p") for name, gold in (("A", "four"), ("B", "five"))]
    assert difference(*golds) == "the right answer of item i/0 from character 2 on: 'four' in A, 'five' in B"
    alike = side("A", choices(["i/0"]), "p")
    assert "max_new_tokens differ" in difference(alike, alike)


def test_tables_that_are_no_pair_say_which_item(tmp_path: Path) -> None:
    with pytest.raises(EvalError, match=r"differ in gold: 0 against 1 \(item i/0\)"):
        paired(choices(["i/0"]), choices(["i/0"], gold=1))
    with pytest.raises(EvalError, match=r"differ in item_id: 'i/1' against 'k/1' \(item 2 of 2\)"):
        paired(choices(["i/0", "i/1"]), choices(["i/0", "k/1"]))
    with pytest.raises(EvalError, match="differ in item_id: 2 items against 1"):
        paired(choices(["i/0", "i/1"]), choices(["i/0"]))


def evaluation(folder: Path, prompts: dict[str, str], prompt_hash: str) -> Evaluation:
    entry = {"status": "ok", "prompt_hash": prompt_hash, "first_prompt": next(iter(prompts.values()))}
    write_json(folder / "summary.json", {"step": 0, "tasks": {"t": entry}})
    write_table(written(prompts), folder / "t.parquet")
    return Evaluation(folder=folder, summary={"step": 0, "tasks": {"t": entry}})


def test_runs_that_are_compared_show_it(tmp_path: Path) -> None:
    a = evaluation(tmp_path / "a", {"i/0": "What is 1?"}, "aaaa")
    b = evaluation(tmp_path / "b", {"i/0": "What is 2?"}, "bbbb")
    with pytest.raises(EvalError) as found:
        same_prompts("t", a, b, "evaluate both alike")
    assert str(found.value) == (
        f"t: asked with other prompts (hash aaaa in {tmp_path}/a, bbbb in {tmp_path}/b): item i/0 from character 9 on: "
        f"'What is 1?' in {tmp_path}/a, 'What is 2?' in {tmp_path}/b; evaluate both alike"
    )
    (tmp_path / "b" / "t.parquet").write_bytes(b"broken")
    with pytest.raises(EvalError, match="the first prompt from character 9 on|item i/0 from character 9 on"):
        same_prompts("t", a, b, "evaluate both alike")


def test_what_is_asked_now_is_set_against_what_was(tmp_path: Path, smollm2: Path) -> None:
    """The same items with five solved examples before them, and as they were measured without."""
    reader = Reader(tokenizer=AutoTokenizer.from_pretrained(smollm2))
    none, two = (TaskSpec(task="pocket", variant="olmes_cf", shots=shots, limit=3) for shots in (0, 2))
    then, now = (ready(spec, "retain", reader, load_items(spec)) for spec in (none, two))
    entry = {"prompt_hash": then.prompt_hash, "first_prompt": then.first_prompt, "variant": "olmes_cf", "shots": 0}
    write_table(choices([one.item.item_id for one in then.choices]), tmp_path / "pocket.parquet")
    said = other_prompts(tmp_path, entry, now)
    assert f"(hash {then.prompt_hash}, now {now.prompt_hash}): shots 0 in {tmp_path}, 2 in what is asked now" in said
    assert f"; item {then.choices[0].item.item_id} from character " in said
    chat = TaskSpec(task="pocket", variant="olmes_cf", shots=0, limit=3, chat_template=True)
    said = other_prompts(tmp_path, entry, ready(chat, "retain", reader, load_items(chat)))
    assert "from character 1 on: " in said and "'<|im_start|>system" in said
