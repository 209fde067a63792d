"""Every kind of table through all that reads tables: summary, pairs, seeds' spread, screen, page, picture, W&B's keys."""

import io
import json
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from rich.console import Console

from eval_hooks import EvalError
from eval_hooks.compare import compare
from eval_hooks.evaluations import find
from eval_hooks.harness.scores import item_scores
from eval_hooks.report.html import write_html
from eval_hooks.report.png import write_png
from eval_hooks.report.screen import print_screen
from eval_hooks.report.view import read_run
from eval_hooks.results.schemas import SCHEMAS, schema_of
from eval_hooks.retention import paired, retention
from eval_hooks.retention.reading import flips_to_read
from eval_hooks.seeds.groups import Groups
from eval_hooks.seeds.result import compared
from eval_hooks.summary import summarise_task
from eval_hooks.table import loss_table, marks, read_table, scored_table, stamped, with_facts, write_table
from eval_hooks.tasks.kinds import KINDS, kind_of
from eval_hooks.track import flatten_summary
from eval_hooks.variance.items import item_table
from eval_hooks.variance.metrics import metrics
from tests.eval_hooks.tables import answers, random_choices


def scores(values: list[float | None], weights: list[float] | None = None, **facts: Any) -> pa.Table:
    """A table of lm-eval's that has neither options nor answers."""
    share = facts.get("unit", "share") == "share"
    rows = [
        {"task": "t", "item_id": f"t/{i}", "prompt": "p", "gold": "g", "subject": "t", "score": value,
         "weight": weights[i] if weights else None, "correct": value == 1 if share else None}
        for i, value in enumerate(values)
    ]  # fmt: skip
    return with_facts(scored_table(rows), facts)


WORDS = {"unit": "nats a word", "better": "down"}
BEFORE, AFTER = [2.0, 4.0, 3.0, 3.0], [2.5, 4.5, 3.6, 3.4]
KIND_TABLES: Mapping[str, tuple[pa.Table, pa.Table]] = {
    "choice": (random_choices(40, skill=2.0), random_choices(40, skill=0.5)),
    "generate": (answers(["a", "b"], ["a", "x"]), answers(["b", "x"], ["a", "x"])),
    "right": (scores([1.0, 0.0, 1.0, 1.0]), scores([0.0, 1.0, 1.0, 0.0])),
    "parts": (scores([0.5, 0.6, 1.0, 0.7]), scores([0.4, 0.6, 1.0, 0.7])),
    "words": (scores(BEFORE, [1.0, 1.0, 3.0, 1.0], **WORDS), scores(AFTER, [1.0, 1.0, 3.0, 1.0], **WORDS)),
    "marks": (scores([40.0, 55.0, 61.0], unit="number"), scores([41.0, 54.0, 66.0], unit="number")),
    "single": (scores([2.0], [9.0], **WORDS), scores([2.5], [9.0], **WORDS)),
    "corpus": (scores([None, None]), scores([None, None])),
}


def test_the_tables_of_kinds_and_schemas_name_the_same() -> None:
    assert set(KINDS) == set(SCHEMAS)
    assert all(kind.schema is SCHEMAS[name] for name, kind in KINDS.items())
    assert all(SCHEMAS[name].columns.metadata == {b"kind": name.encode()} for name in SCHEMAS)


def test_a_table_says_its_kind_and_keeps_saying_it(tmp_path: Path) -> None:
    """Through notes, facts, a part of it and the disk; a table of before is known by a column."""
    table = with_facts(stamped(answers(["a", "b"], ["a", "b"]), 1.0), {"metric": "m"}).slice(1, 1)
    write_table(table, tmp_path / "t.parquet")
    again = read_table(tmp_path / "t.parquet")
    assert again.schema.metadata[b"kind"] == b"generate" and again.schema.metadata[b"seconds"] == b"1.000"
    assert kind_of(again) is KINDS["generate"]
    for name in ("choice", "right", "generate"):
        old = KIND_TABLES[name][0].replace_schema_metadata(None)
        assert schema_of(old) is schema_of(KIND_TABLES[name][0])
    for wrong in (table.replace_schema_metadata({"kind": "verse"}), pa.table({"x": [1]})):
        with pytest.raises(EvalError, match="no per-item table that is known here"):
            kind_of(wrong)
    with pytest.raises(EvalError, match="kind choice has no column logp"):
        kind_of(KIND_TABLES["choice"][0].drop_columns(["logp"]))
    with pytest.raises(EvalError, match="of two kinds, generate and score"):
        paired(KIND_TABLES["generate"][0], KIND_TABLES["right"][0])


def test_a_change_of_nats_a_word_by_hand() -> None:
    """Weights 1 1 3 1: before 18 / 6 = 3, after 21.2 / 6 = 3.5333; change 3.2 / 6 = 0.5333 of nats, so worse.

    u = d + w (x - d) / 1.5 of x = .5 .5 .6 .4 is .5111 .5111 .6667 .4444: mean .5333, sd .0943, and Student's
    half-width 3.1824 x .0943 / 2 = .1500. All four got worse: sign test 2 / 16.
    """
    entry = retention(*KIND_TABLES["words"], 0.02, 0.0)
    assert entry["delta"]["value"] == pytest.approx(3.2 / 6)  # type: ignore[index]
    assert entry["delta"]["low"] == pytest.approx(0.5333 - 0.1500, abs=2e-4)  # type: ignore[index]
    assert (entry["lost"], entry["gained"], entry["mcnemar_p"]) == (4, 0, 0.125)
    assert (entry["verdict"], entry["unit"], entry["margin"]) == ("dropped", "nats a word", None)
    assert entry["minimum_detectable"] is None and entry["e_value"] is None
    up = retention(*(scores(v, unit="number") for v in (BEFORE, AFTER)), 0.02, 0.0)  # type: ignore[misc]
    assert up["verdict"] == "gained" and up["lost"] == 0
    summary = summarise_task(KIND_TABLES["words"][1], role="retain", baseline=KIND_TABLES["words"][0])
    assert summary["score"]["value"] == pytest.approx(21.2 / 6)
    assert summary["accuracy"]["value"] is None and "nats a word, less is better" in summary["accuracy"]["reason"]


def test_items_without_a_score_have_no_pair_and_say_why() -> None:
    entry = summarise_task(KIND_TABLES["corpus"][1], role="retain", baseline=KIND_TABLES["corpus"][0])
    assert entry["accuracy"]["value"] is None and entry["retention"] is None
    single = summarise_task(KIND_TABLES["single"][1], role="retain", baseline=KIND_TABLES["single"][0])
    assert single["retention"]["delta"]["value"] == 0.5 and single["retention"]["delta"]["low"] is None
    assert single["retention"]["verdict"] == "undecided"


def test_the_flips_of_each_kind_can_be_read() -> None:
    """Parts of right count by their score: item 0 earned less. Of numbers the item that moved most comes first."""
    (part,) = flips_to_read(*KIND_TABLES["parts"], {})
    assert (part["flip"], part["before"], part["after"]) == ("lost", "score 0.5", "score 0.4")
    words = flips_to_read(*KIND_TABLES["words"], {})
    assert [row["flip"] for row in words] == ["lost"] * 4 and words[0]["item_id"] == "t/2"
    assert [row["flip"] for row in flips_to_read(*KIND_TABLES["right"], {})] == ["lost", "lost", "gained"]


def test_the_spread_over_seeds_reads_the_score() -> None:
    """Parts .5 .6 1 .7 have the mean 0.70, where right and wrong alone would give 0.25."""
    assert metrics(KIND_TABLES["parts"][0])["accuracy"].score == pytest.approx(0.70)
    words = metrics(KIND_TABLES["words"][0])["score"]
    assert (words.score, words.better) == (pytest.approx(3.0), "down")
    row = {"task": "t", "item_id": "0", "nll": 6.0, "n_tokens": 3}
    loss = metrics(loss_table([row, {**row, "item_id": "1", "nll": 1.0, "n_tokens": 1}]))["loss"]
    assert loss.score == pytest.approx(7 / 4) and marks(loss_table([row])).tolist() == [2.0]
    assert metrics(random_choices(9), goal="down")["accuracy"].better == "down"
    assert item_table("", (), np.empty((1, 0))).num_rows == 0  # where all that was measured is such scores


SHOWN = ("choice", "generate", "words", "single", "corpus")


def run_of(folder: Path) -> Path:
    """A run of all kinds at steps 0 and 5."""
    first: dict[str, Any] = {}
    for step, side in ((0, 0), (5, 1)):
        here, tasks = folder / "evals" / f"step-{step}", {}
        for name in SHOWN:
            pair = KIND_TABLES[name]
            write_table(pair[side], here / f"{name}.parquet")
            base = pair[0] if side else None
            role = "target" if name == "generate" else "retain"
            flips = flips_to_read(pair[0], pair[1], {}) if side else []
            entry = summarise_task(pair[side], role=role, baseline=base)
            tasks[name] = {**entry, "seconds": 1.0, "flips": flips, "cut": 0}
        first = {"step": step, "tokens": None, "precision": "float32", "seconds": 1.0, "tasks": tasks, "validation": {},
                 "unshared": None}  # fmt: skip
        (here / "summary.json").write_text(json.dumps(first, allow_nan=False))
    (folder / "metrics.jsonl").write_text(json.dumps({"step": 5, "train/loss": 1.0}) + "\n")
    (folder / "status.json").write_text("{}")
    return folder


def test_every_kind_passes_through_all_that_shows(tmp_path: Path) -> None:
    """The last screen, the page, the picture, the logged keys, and a comparison of the two steps."""
    folder = run_of(tmp_path / "run")
    out = io.StringIO()
    print_screen(folder, Console(file=out, width=200))
    said = out.getvalue()
    assert "dropped: 0.533 nats a word worse, the loss is real (+0.383 to +0.683)" in said
    assert "3.000 (" in said and "nats a word" in said and "sign test p = 0.125" in said
    run = read_run(folder)
    write_html(run, tmp_path / "report.html")
    assert "+0.533 nats a word" in (tmp_path / "report.html").read_text()
    write_png(run, tmp_path / "report.png")
    keys = flatten_summary(run.last)
    assert keys["eval/words/score"] == pytest.approx(21.2 / 6) and "eval/words/accuracy" not in keys
    assert keys["eval/words/retention/delta"] == pytest.approx(3.2 / 6)
    result = compare([f"{folder}:0", f"{folder}:5"], out=tmp_path / "compared", console=Console(file=out, width=200))
    assert {pair.task for pair in result.pairs} == set(SHOWN) - {"corpus"}
    assert "+0.533 nats a word" in (tmp_path / "compared" / "compare.html").read_text()
    (unpaired,) = result.unpaired
    assert "has no score of its own" in unpaired.reason


def task(metric: str, how: str, better: bool = True) -> Any:
    named = SimpleNamespace(__name__=how)
    return SimpleNamespace(aggregation=lambda: {metric: named}, higher_is_better=lambda: {metric: better})


def test_what_an_item_of_lm_eval_earned_by_hand() -> None:
    """Log p = -6 over 3 words: 2 nats a word, counted by 3. A perplexity's item is its nats. F1's says nothing."""
    rolling = item_scores([task("word_perplexity", "weighted_perplexity", False)], "word_perplexity", [(-6.0, 3)])
    assert (rolling.values, rolling.weights, rolling.unit, rolling.better) == ((2.0,), (3.0,), "nats a word", "down")
    bits = item_scores([task("bits_per_byte", "bits_per_byte", False)], "bits_per_byte", [(-6.931471805599453, 10)])
    assert bits.values[0] == pytest.approx(1.0) and bits.unit == "bits a byte"
    nats = item_scores([task("perplexity", "perplexity", False)], "perplexity", [-1.5, float("nan")])
    assert (nats.values, nats.unit, nats.better) == ((1.5, None), "nats", "down")
    assert item_scores([task("acc", "mean")], "acc", [1, 0.25]).unit == "share"
    assert item_scores([task("ter", "mean", False)], "ter", [0.25]).better == "down"
    assert item_scores([task("rouge1", "mean")], "rouge1", [43.0, 0.5]).unit == "number"
    assert item_scores([task("f1", "f1")], "f1", [(1, 0)]).values == (None,)


def test_seeds_leave_scores_out_unless_they_are_asked_for(tmp_path: Path) -> None:
    """Two recipes are compared by what is right or wrong; a score by name is refused with its unit."""
    folders = [run_of(tmp_path / name) / "evals" / "step-5" for name in ("a", "b", "c", "d")]
    one, two, three, four = (find(str(folder)) for folder in folders)
    groups = Groups(a=(one, two), b=(three, four), one_recipe=False, unchecked=())
    assert {one.task for one in compared(groups).tasks} == {"choice", "generate"}
    with pytest.raises(EvalError, match="words: its items have a score in nats a word"):
        compared(groups, ["words"])
