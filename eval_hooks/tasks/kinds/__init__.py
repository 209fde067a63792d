"""The kinds of measurement. A row is a kind's name and its value; a table says its own (`results.schemas`)."""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from eval_hooks.results.schemas import schema_of
from eval_hooks.tasks.kinds import choice, generate, loss, pairs, recall, score
from eval_hooks.tasks.kinds.kind import Kind

KINDS: Mapping[str, Kind] = {
    "choice": choice.KIND,
    "generate": generate.KIND,
    "recall": recall.KIND,
    "score": score.KIND,
    "loss": loss.KIND,
    "pairs": pairs.KIND,
}


def kind_of(table: pa.Table) -> Kind:
    """The kind of a table. Raises EvalError for a table of none."""
    return KINDS[schema_of(table).kind]


def kind_of_entry(entry: Mapping[str, Any]) -> Kind:
    """The kind of a summary's entry; one of before entries said so is of a held-out loss."""
    return KINDS.get(entry.get("kind") or "loss", loss.KIND)
