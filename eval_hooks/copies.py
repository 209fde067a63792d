"""Items that are copies of others: asked twice they say nothing new, so intervals count them once.

A benchmark may hold a question more than once. Its copies are right or wrong together, so they are one draw from what
the benchmark is drawn from, a cluster: resamples take it whole, and an interval of counts takes the number of items
that clusters of c_1, c_2, ... copies are worth (Kish 1965, Survey Sampling, section 8.2),

    n^2 / sum c^2, n where no item is a copy

which is less than the number of different items where some are asked more often than others: they weigh more.
"""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa


def copies(ids: Sequence[str], texts: Sequence[Hashable]) -> dict[str, str]:
    """Item -> the first item that asks the same, of the items that repeat one; `texts` are all that an item asks."""
    first: dict[Hashable, str] = {}
    found = {item: first.setdefault(text, item) for item, text in zip(ids, texts, strict=True)}
    return {item: original for item, original in found.items() if item != original}


def clusters_of(table: pa.Table) -> np.ndarray | None:
    """Cluster of each item, (n,) whole numbers from 0; None where no two items of the table are copies of each other.

    A table of before copies were looked for has no such column, and counts every item.
    """
    if "copy_of" not in table.column_names or table.column("copy_of").null_count == table.num_rows:
        return None
    ids, again = (table.column(name).to_pylist() for name in ("item_id", "copy_of"))
    return clusters(ids, {item: original for item, original in zip(ids, again, strict=True) if original})


def clusters(ids: Sequence[str], again: Mapping[str, str]) -> np.ndarray | None:
    """The same of items by id, `again` being what `copies` found."""
    names, of = np.unique([again.get(item, item) for item in ids], return_inverse=True)
    return of if len(names) < len(of) else None


def worth(n: int, clusters: np.ndarray | None) -> float:
    """How many different items n items are worth to an interval."""
    return float(n) if clusters is None else n * n / float((np.bincount(clusters) ** 2).sum())


def told(table: pa.Table) -> dict[str, Any] | None:
    """What a summary says of copies: how many items there are but for them; None where there are none."""
    clusters = clusters_of(table)
    if clusters is None:
        return None
    different = int(clusters.max()) + 1
    return {"items": len(clusters) - different, "different": different, "worth": worth(len(clusters), clusters)}
