"""The loss of held-out rows: nats per trained token."""

from typing import TYPE_CHECKING, Any

import numpy as np

from eval_hooks.copies import clusters_of, told
from eval_hooks.intervals import bootstrap, ratio
from eval_hooks.results.schemas import LOSS
from eval_hooks.results.text import number
from eval_hooks.table import column, marks, weights
from eval_hooks.tasks.kinds.kind import Beside, Entry, ItemNumbers, Kind

if TYPE_CHECKING:
    import pyarrow as pa


def summarise(table: "pa.Table", beside: Beside) -> dict[str, Any]:
    """Mean loss per trained token in nats, interval over resampled rows."""
    total, tokens = column(table, "nll"), column(table, "n_tokens")

    def drawn(counts: np.ndarray) -> dict[str, np.ndarray]:
        return {"loss": ratio(counts @ total, counts @ tokens)}

    value = {"loss": float(ratio(total.sum(), tokens.sum()))}
    loss = bootstrap(value, drawn, table.num_rows, clusters=clusters_of(table))["loss"]
    return {"loss": loss.as_dict(), "n": table.num_rows, "copies": told(table), "tokens": int(tokens.sum())}


def numbers(table: "pa.Table") -> dict[str, ItemNumbers]:
    """Nats a token of each row, which counts by its tokens."""
    counted = weights(table)
    return {"loss": ItemNumbers(values=marks(table), weights=counted)} if counted is not None and counted.sum() else {}


def held_out(name: str, before: Entry, after: Entry) -> tuple[str, str]:
    """The loss before and after."""
    return "Held-out loss", f"{name} {number(before['loss'])} -> {number(after['loss'])} nats a token"


KIND = Kind(schema=LOSS, summarise=summarise, numbers=numbers, held_out=held_out)
