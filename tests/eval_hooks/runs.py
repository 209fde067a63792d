"""A run folder as training leaves it, made from tables, for what reads run folders."""

import json
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa

from eval_hooks.items import ChoiceItem
from eval_hooks.retention.reading import flips_to_read
from eval_hooks.summary import summarise_task
from eval_hooks.table import write_table
from eval_hooks.tasks.kinds import kind_of
from tests.eval_hooks.tables import answers, random_choices

NASTY = "<script>alert('x')</script>"


def questions(table: pa.Table) -> dict[str, ChoiceItem]:
    """Questions with four options for the items of a choice table."""
    if not kind_of(table).schema.options:
        return {}
    words = tuple(f"option {word}" for word in ("one", "two", "three", "four"))
    return {
        row["item_id"]: ChoiceItem(
            item_id=row["item_id"], subject=row["subject"], question=f"{NASTY} {row['item_id']}?", choices=words, gold=0
        )
        for row in table.to_pylist()
    }


def evaluation(
    folder: Path, step: int, tables: Mapping[str, pa.Table], base: Mapping[str, pa.Table] | None, hash_: str
) -> None:
    """evals/step-N of one or more tables; the one called sql is the target."""
    tasks = {}
    for name, table in tables.items():
        entry = summarise_task(
            table,
            role="target" if name == "sql" else "retain",
            baseline=base[name] if base else None,
            prompt_hash=hash_,
            first_prompt=f"Question: {NASTY}",
        )
        flips = flips_to_read(base[name], table, questions(table)) if base else []
        tasks[name] = {**entry, "seconds": 1.0, "flips": flips}
        write_table(table, folder / f"{name}.parquet")
    summary = {
        "step": step,
        "tokens": None,
        "precision": "float32",
        "seconds": 2.0,
        "tasks": tasks,
        "validation": {"held": {"loss": {"value": 2.0 - step / 20, "low": 0.9, "high": 2.1}, "n": 3, "tokens": 9}},
    }
    (folder / "summary.json").write_text(json.dumps(summary))


def run_folder(folder: Path, skill: float = 2.0, hash_: str = "aaaa") -> Path:
    """Step 0 and step 20 of a choice task `pocket` and a generative one `sql`; the choice task changes to `skill`."""
    before = {"pocket": random_choices(120, skill=2.0), "sql": answers(["a", NASTY, "c"], ["x", "y", "z"])}
    after = {"pocket": random_choices(120, skill=skill), "sql": answers(["x", "y", NASTY], ["x", "y", "z"])}
    evaluation(folder / "evals" / "step-0", 0, before, None, hash_)
    evaluation(folder / "evals" / "step-20", 20, after, before, hash_)
    lines = [{"step": step, "train/loss": 3.0 - step / 10} for step in (5, 10, 15, 20)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"step": 2')
    (folder / "recipe.yaml").write_text(f"stage: sft  # {NASTY}\n")
    (folder / "status.json").write_text(json.dumps({"state": "done", "wandb_dir": "w/offline-run-1"}))
    return folder
