"""Margins of MMLU's items before and after training, as SmolLM2-135M-Instruct measured them: real flips for simulations.

An item's margin is log p of its right option less that of the best other one: right where positive. Written from
folders of `temper eval smollm2-135m-instruct --task mmlu --data $TEMPER_DATA/mmlu --variant olmes_cf --shots 5
model.dtype=bfloat16` (the later ones of other weights, or of a part of the items) by
    python -m tests.eval_hooks.measured base=FOLDER light=FOLDER ...
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from eval_hooks.retention.strata import margins
from eval_hooks.table import column, read_table
from tests.eval_hooks.tables import choices

FILE = Path(__file__).with_name("mmlu_margins.parquet")


def main(words: Sequence[str]) -> None:
    """Add columns to the file."""
    there = pq.read_table(FILE) if FILE.is_file() else pa.table({})
    columns = dict(zip(there.column_names, there.columns, strict=True))
    for word in words:
        name, _, folder = word.partition("=")
        table = read_table(Path(folder) / "mmlu.parquet")
        columns.setdefault("item_id", table["item_id"])
        columns.setdefault("subject", table["subject"])
        of = dict(zip(table["item_id"].to_pylist(), signed(table), strict=True))
        columns[name] = pa.array([of.get(item) for item in columns["item_id"].to_pylist()], pa.float32())
    pq.write_table(pa.table(columns), FILE, compression="zstd")


def signed(table: pa.Table) -> np.ndarray:
    """Margins, positive where the item is answered rightly."""
    return np.where(column(table, "correct"), 1.0, -1.0) * margins(table)


def measured(later: str) -> tuple[pa.Table, np.ndarray]:
    """(step 0's table, change of each item) of the items that a later column has; two options an item stand for all."""
    table = pq.read_table(FILE, columns=["item_id", "subject", "base", later]).drop_null()
    before, after = (table[name].to_numpy() for name in ("base", later))
    base = choices([[float(m), 0.0] for m in before], [0] * len(before), table["subject"].to_pylist())
    base = base.set_column(base.column_names.index("item_id"), "item_id", table["item_id"])
    return base, (after > 0).astype(float) - (before > 0).astype(float)


if __name__ == "__main__":
    main(sys.argv[1:])
