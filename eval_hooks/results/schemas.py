"""The schemas of per-item tables: one a kind. A table says its kind in its own metadata.

Tables written before they did so are known by one column each, here and nowhere else.
"""

from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

from eval_hooks.errors import EvalError

Better = Literal["up", "down"]
SHARE = "share"
"""Unit of what is right or wrong, or a part of right: 0 to 1, more is better."""
KEY = b"kind"
COPY = ("copy_of", pa.string())
"""Of an item that asks what one before it asks: that one's id; null of all others (`copies`)."""
PARTS = [("subject", pa.string()), ("score", pa.float64()), ("weight", pa.float64())]
"""Of an item of lm-eval: its task's name; its score; what it counts by in the mean, as its words (null: 1)."""


@dataclass(frozen=True, kw_only=True)
class Schema:
    """What the rows of a kind of table hold, and how two tables of it are set beside each other."""

    kind: str
    columns: pa.Schema
    known_by: str
    """The column that tells a table of this kind which does not say what it is."""
    paired_on: tuple[str, ...] = ("item_id", "gold")
    """What two tables must have alike to be of the same items, asked the same way."""
    answer: str | None = None
    """The column of what was answered: where it differs between two wrong ones, the answer changed."""
    options: bool = False
    """Answers are options whose log-probabilities are held, so that guessing can be reckoned with."""
    score: tuple[str, ...] = ("correct",)
    """The column of what an item earned: the first of these that is there."""
    per: str | None = None
    """What the score is a sum over, and is divided by."""
    weight: str | None = None
    """What an item counts by in the mean; None: all count alike."""
    unit: str = SHARE
    """Of an item's score, unless the table's facts say another."""
    better: Better = "up"


_GENERATE = [
    ("task", pa.string()),
    ("item_id", pa.string()),
    ("prompt", pa.string()),
    ("output", pa.string()),
    ("gold", pa.string()),
    ("correct", pa.bool_()),
    ("reason", pa.string()),
    ("n_tokens", pa.int32()),
    ("hit_limit", pa.bool_()),
    COPY,
]


def _columns(kind: str, fields: list[tuple[str, pa.DataType]]) -> pa.Schema:
    return pa.schema(fields, metadata={KEY: kind.encode()})


CHOICE = Schema(
    kind="choice",
    columns=_columns(
        "choice",
        [
            ("task", pa.string()),
            ("item_id", pa.string()),
            ("subject", pa.string()),
            ("variant", pa.string()),
            ("shots", pa.int32()),
            ("gold", pa.int32()),
            ("pred", pa.int32()),
            ("n_options", pa.int32()),
            ("logp", pa.list_(pa.float32())),
            ("chars", pa.list_(pa.int32())),
            ("correct", pa.bool_()),
            ("p_gold", pa.float64()),
            ("conf", pa.float64()),
            ("letter_mass", pa.float64()),
            ("tie", pa.bool_()),
            ("prompt_tokens", pa.int32()),
            COPY,
        ],
    ),
    known_by="logp",
    paired_on=("item_id", "gold", "variant", "shots"),
    answer="pred",
    options=True,
)
RECALL = Schema(
    kind="recall",
    columns=_columns(
        "recall",
        [
            ("task", pa.string()),
            ("item_id", pa.string()),
            ("prompt", pa.string()),
            ("output", pa.string()),
            ("gold", pa.string()),
            ("value", pa.string()),
            ("correct", pa.bool_()),
            ("em_value", pa.float64()),
            ("em_answer", pa.float64()),
            ("probability_value", pa.float64()),
            ("probability_answer", pa.float64()),
            ("truth_ratio", pa.float64()),
            ("rouge_l", pa.float64()),
            COPY,
        ],
    ),
    known_by="em_value",
    answer="output",
)
GENERATE = Schema(
    kind="generate",
    columns=_columns("generate", _GENERATE),
    known_by="output",
    answer="output",
    score=("score", "correct"),
    weight="weight",
)
WRITTEN = _columns("generate", [*_GENERATE, *PARTS])
"""The columns of a generative task of lm-eval."""
SCORE = Schema(
    kind="score",
    columns=_columns(
        "score",
        [
            ("task", pa.string()),
            ("item_id", pa.string()),
            ("prompt", pa.string()),
            ("gold", pa.string()),
            ("correct", pa.bool_()),
            COPY,
            *PARTS,
        ],
    ),
    known_by="score",
    score=("score",),
    weight="weight",
)
PAIRS = Schema(
    kind="pairs",
    columns=_columns(
        "pairs",
        [
            ("task", pa.string()),
            ("item_id", pa.string()),
            ("chosen_logp", pa.float64()),
            ("rejected_logp", pa.float64()),
            ("chosen_tokens", pa.int32()),
            ("rejected_tokens", pa.int32()),
            ("start_answer", pa.list_(pa.int32())),  # drawn from the model at step 0
            ("start_logp", pa.float64()),  # of that answer, now
            ("written_tokens", pa.int32()),  # of the answer that the model writes now
            COPY,
        ],
    ),
    known_by="chosen_logp",
    paired_on=("item_id", "chosen_tokens", "rejected_tokens"),
    score=("chosen_logp",),
    unit="nats",
)
LOSS = Schema(
    kind="loss",
    columns=_columns(
        "loss",
        [("task", pa.string()), ("item_id", pa.string()), ("nll", pa.float64()), ("n_tokens", pa.int32()), COPY],
    ),
    known_by="nll",
    paired_on=("item_id", "n_tokens"),
    score=("nll",),
    per="n_tokens",
    weight="n_tokens",
    unit="nats a token",
    better="down",
)
SCHEMAS = {one.kind: one for one in (CHOICE, RECALL, GENERATE, SCORE, PAIRS, LOSS)}
"""In the order in which a table that does not say its kind is looked at."""


def schema_of(table: pa.Table) -> Schema:
    """The schema of a table. Raises EvalError for a kind that is not known, and for columns that its kind has not."""
    said = (table.schema.metadata or {}).get(KEY)
    if said is None:
        found = next((one for one in SCHEMAS.values() if one.known_by in table.column_names), None)
    else:
        found = SCHEMAS.get(said.decode("utf-8", "replace"))
    if found is None:
        what = f"its kind {said.decode('utf-8', 'replace')!r}" if said else f"columns {', '.join(table.column_names)}"
        raise EvalError(f"no per-item table that is known here: {what}; there are: {', '.join(SCHEMAS)}")
    if lacking := {found.known_by, *found.paired_on} - set(table.column_names):
        raise EvalError(f"a table of kind {found.kind} has no column {', '.join(sorted(lacking))}; evaluate again")
    return found
