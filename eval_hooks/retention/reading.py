"""Which items flipped, to read: what was asked, what is right, what the model said before and says now."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from eval_hooks.items import ChoiceItem
from eval_hooks.table import marks, scale_of
from eval_hooks.tasks.kinds import kind_of

MOST = 20
"""Flips shown each way."""


def flips_to_read(
    before: pa.Table, after: pa.Table, asked: Mapping[str, ChoiceItem], most: int = MOST
) -> list[dict[str, Any]]:
    """The items lost, then the items gained, at most `most` of each, those with the most confident answer now first.

    `before` has every item of `after`; `asked` has the multiple-choice items by id, where their texts are known. Each
    row: flip (`lost` or `gained`), item_id, subject, question, gold, before, after, conf_before, conf_after. A free
    answer has neither subject nor confidence; those come in the order of the items, and scores in that of their change.
    """
    kind, scale = kind_of(after), scale_of(after, before)
    place = {item: row for row, item in enumerate(before.column("item_id").to_pylist())}
    first = before.take([place[item] for item in after.column("item_id").to_pylist()])
    risen = (marks(after) - marks(first)) * (1 if scale.better == "up" else -1)
    rows = []
    for i in np.flatnonzero(np.nan_to_num(risen)).tolist():
        a, b = first.slice(i, 1).to_pylist()[0], after.slice(i, 1).to_pylist()[0]
        flip = "gained" if risen[i] > 0 else "lost"
        rows.append({"flip": flip, "item_id": b["item_id"], **kind.flip(a, b, asked), "by": abs(risen[i])})
    surest = sorted(rows, key=lambda row: (-(row["conf_after"] or 0.0), -row["by"]))
    chosen = [row for flip in ("lost", "gained") for row in [one for one in surest if one["flip"] == flip][:most]]
    return [{key: value for key, value in row.items() if key != "by"} for row in chosen]
