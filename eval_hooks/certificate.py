"""A certificate's arithmetic: which items are asked again, and how far two tables of the same items are apart."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pyarrow as pa

from eval_hooks.errors import EvalError
from eval_hooks.files import checkpoints, read_json
from eval_hooks.retention import paired, retention
from eval_hooks.retention.spending import ALPHA, Look
from eval_hooks.table import chance, column, marks

FILE = "certificate.json"
"""In a checkpoint's folder, and in an exported one."""
ITEMS, SEED = 100, 0
ROUNDING = {"float32": 5e-3, "float16": 0.1, "bfloat16": 0.5}
"""Nats by which the same sums in another order may move an option's log-probability, by the coarsest type they are in.

The type's spacing at a logit of 20, times the number of layers and an option's tokens, rounded up.
"""


def chosen(table: pa.Table, most: int = ITEMS, seed: int = SEED) -> list[str]:
    """Ids of the items that are asked again: one of each subject in turn, drawn with `seed`, in the table's order."""
    drawn = Random(seed)
    by_subject: dict[str, list[int]] = {}
    for number, subject in enumerate(table.column("subject").to_pylist()):
        by_subject.setdefault(subject, []).append(number)
    for numbers in by_subject.values():
        drawn.shuffle(numbers)
    subjects = list(by_subject)
    drawn.shuffle(subjects)
    turns = sorted((turn, place) for place, name in enumerate(subjects) for turn in range(len(by_subject[name])))
    kept = sorted(by_subject[subjects[place]][turn] for turn, place in turns[:most])
    ids = table.column("item_id").to_pylist()
    return [ids[number] for number in kept]


def only(table: pa.Table, ids: Sequence[str]) -> pa.Table:
    """The rows of these items, in the ids' order."""
    place = {item_id: number for number, item_id in enumerate(table.column("item_id").to_pylist())}
    return table.take([place[item_id] for item_id in ids])


def apart(before: pa.Table, after: pa.Table) -> dict[str, Any]:
    """How far two tables of the same items are apart.

    `largest` and `mean`: |difference of log-probability| over all options, nats; `flips`: items of another answer.
    Raises EvalError for tables that are no pair.
    """
    paired(before, after)
    options = [table.column("logp").to_pylist() for table in (before, after)]
    moved = [abs(a - b) for one, other in zip(*options, strict=True) for a, b in zip(one, other, strict=True)]
    return {
        "largest": float(np.max(moved)),
        "mean": float(np.mean(moved)),
        "flips": int((column(before, "pred") != column(after, "pred")).sum()),
    }


def against_start(start: pa.Table, table: pa.Table, margin: float, step: int, forms: int = 1) -> dict[str, Any]:
    """Accuracy, and the retention of these items against the start's table of more: paired, with its interval.

    The word is said over all `forms` that are judged by theirs.
    """
    look = Look(alpha=ALPHA / forms, looks=forms)
    return {
        "accuracy": float(marks(table).mean()),
        "retention": retention(
            only(start, table.column("item_id").to_pylist()), table, margin, chance(table), step, look
        ),
    }


def rounding(arithmetic: str) -> float:
    """The entry of ROUNDING for an evaluation's `precision`, as `float32, bfloat16 autocast`."""
    return max((nats for name, nats in ROUNDING.items() if name in arithmetic), default=ROUNDING["float32"])


def read(folder: Path) -> dict[str, Any] | None:
    """The certificate in a folder; None where there is none that can be read."""
    try:
        return read_json(folder / FILE) or None
    except (OSError, EvalError):
        return None


def certificates(run: Path) -> list[dict[str, Any]]:
    """Those of a run folder or pipeline, in order of step."""
    folders = [folder for one in (run, *run.glob("stages/*")) for folder in checkpoints(one).values()]
    found = [made for folder in folders if isinstance((made := read(folder) or {}).get("step"), int)]
    return sorted(found, key=lambda made: made["step"])


def numbers(certificate: Mapping[str, Any]) -> dict[str, float]:
    """A certificate's numbers under their W&B keys."""
    out = {"certify/passed": float(certificate["passed"])}
    for row in certificate["rows"]:
        keys = ("largest", "flips")
        out |= {f"certify/{row['form']}/{key}": float(row[key]) for key in keys if row.get(key) is not None}
        out[f"certify/{row['form']}/passed"] = float(row["passed"])
    return out


def failed(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The forms that did not pass."""
    return [row["form"] for row in rows if not row["passed"]]
