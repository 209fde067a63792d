"""The per-item table: everything that is said of a model is a function of it."""

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from eval_hooks.errors import EvalError
from eval_hooks.files import write_atomic
from eval_hooks.masking import masked

COPY = ("copy_of", pa.string())
"""Of an item that asks what one before it asks: that one's id; null of all others (`copies`)."""
CHOICE = pa.schema(
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
    ]
)
GENERATE = pa.schema(
    [
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
)
PARTS = [("subject", pa.string()), ("score", pa.float64())]
"""Of an item of lm-eval: its task's name, and what it earned, 0 to 1."""
WRITTEN = pa.schema([*GENERATE, *(pa.field(*part) for part in PARTS)])
SCORED = pa.schema(
    [
        ("task", pa.string()),
        ("item_id", pa.string()),
        ("prompt", pa.string()),
        ("gold", pa.string()),
        ("correct", pa.bool_()),
        COPY,
        *PARTS,
    ]
)
RECALL = pa.schema(
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
    ]
)
RECALL_METRICS = ("em_value", "em_answer", "probability_value", "probability_answer", "truth_ratio", "rouge_l")
LOSS = pa.schema(
    [("task", pa.string()), ("item_id", pa.string()), ("nll", pa.float64()), ("n_tokens", pa.int32()), COPY]
)


BY_SUM = "acc"
"""Variant of lm-eval's choice tasks that compare options of any length by their summed log-probability."""


def by_character(letter_mass: float | None, variant: str) -> bool:
    """Whether an item's options are compared per character: where they are no letters, unless the variant sums."""
    return letter_mass is None and variant != BY_SUM


def option_scores(logp: Sequence[float], chars: Sequence[int], cloze: bool) -> np.ndarray:
    """Logits of one item's options, (K,): letters logp, cloze mean(chars) * logp / chars."""
    scores = np.asarray(logp, dtype=np.float64)
    if cloze:
        lengths = np.maximum(np.asarray(chars, dtype=np.float64), 1.0)
        return lengths.mean() * scores / lengths
    return scores


def option_probabilities(logp: Sequence[float], chars: Sequence[int], cloze: bool) -> np.ndarray:
    """Probabilities of one item's options, (K,): softmax of its scores."""
    scores = option_scores(logp, chars, cloze)
    weights = np.exp(scores - scores.max())
    return weights / weights.sum()


def choice_table(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """The whole table from what was scored.

    Each row: task, item_id, subject, variant, shots, gold, logp, chars, letter_mass (None in cloze), prompt_tokens. The
    first index wins a tie. Raises EvalError naming the item for NaN log-probabilities or a gold that is no option.
    """
    full = []
    for row in rows:
        logp = [float(np.float32(value)) for value in row["logp"]]
        if not np.isfinite(logp).all():
            raise EvalError(
                f"{row['task']}: item {row['item_id']} has log-probabilities {logp}; the model gives NaN or infinity"
            )
        if not 0 <= row["gold"] < len(logp):
            raise EvalError(
                f"{row['task']}: item {row['item_id']}: gold {row['gold']} is none of its {len(logp)} options"
            )
        p = option_probabilities(logp, row["chars"], by_character(row["letter_mass"], row["variant"]))
        pred = int(p.argmax())
        full.append(
            {
                **row,
                "logp": logp,
                "pred": pred,
                "n_options": len(logp),
                "correct": pred == row["gold"],
                "p_gold": float(p[row["gold"]]),
                "conf": float(p[pred]),
                "tie": int((p == p[pred]).sum()) > 1,
            }
        )
    return pa.Table.from_pylist(full, schema=CHOICE)


def generate_table(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """The table of a generative task, from its columns."""
    return pa.Table.from_pylist(list(rows), schema=GENERATE)


def written_table(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """The table of a generative task of lm-eval, from its columns."""
    return pa.Table.from_pylist(list(rows), schema=WRITTEN)


def scored_table(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """The table of a task of lm-eval that has neither options nor answers, from its columns."""
    return pa.Table.from_pylist(list(rows), schema=SCORED)


def recall_table(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """The table of a recall task, from its columns."""
    return pa.Table.from_pylist(list(rows), schema=RECALL)


def loss_table(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """The table of a held-out loss: summed nats and trained tokens per row."""
    return pa.Table.from_pylist(list(rows), schema=LOSS)


def kind_of(table: pa.Table) -> str:
    """choice, recall, generate, score or loss, by its columns."""
    kinds = {"logp": "choice", "em_value": "recall", "output": "generate", "score": "score"}
    return next((kind for name, kind in kinds.items() if name in table.column_names), "loss")


def column(table: pa.Table, name: str) -> np.ndarray:
    """A column as numpy; nulls become NaN."""
    return table.column(name).to_numpy(zero_copy_only=False)


def chance(table: pa.Table) -> float:
    """Accuracy of guessing: mean of 1 / number of options; 0 for free answers."""
    return float((1.0 / column(table, "n_options")).mean()) if kind_of(table) == "choice" else 0.0


def scores(table: pa.Table) -> np.ndarray:
    """Logits of the options (n, K), K the most options of an item, padded with -inf."""
    rows = zip(
        table.column("logp").to_pylist(),
        table.column("chars").to_pylist(),
        table.column("letter_mass").to_pylist(),
        table.column("variant").to_pylist(),
        strict=True,
    )
    each = [option_scores(logp, chars, by_character(mass, variant)) for logp, chars, mass, variant in rows]
    out = np.full((len(each), max(map(len, each), default=0)), -np.inf)
    for i, row in enumerate(each):
        out[i, : len(row)] = row
    return out


def probabilities(table: pa.Table) -> np.ndarray:
    """Option probabilities (n, K), K the most options of an item, padded with zeros."""
    logits = scores(table)
    weights = np.exp(logits - logits.max(axis=1, keepdims=True)) if logits.size else logits
    return weights / weights.sum(axis=1, keepdims=True)


def stamped(table: pa.Table, seconds: float, noise: Mapping[str, Any] | None = None) -> pa.Table:
    """The table with a note of how long it took and, where items were scored twice, of what came out differently."""
    note = {"seconds": f"{seconds:.3f}"} | ({} if noise is None else {"noise": json.dumps(noise)})
    return table.replace_schema_metadata(note)


def noted(table: pa.Table, name: str) -> str | None:
    """What such a note says; None where it says nothing."""
    found = (table.schema.metadata or {}).get(name.encode())
    return None if found is None else found.decode()


def seconds_of(table: pa.Table) -> float:
    """How long a table took; 0 where nobody noted it."""
    return float(noted(table, "seconds") or 0.0)


def marks(table: pa.Table) -> np.ndarray:
    """What each item earned, (n,): 1 for right, 0 for wrong, a part where its task gives parts; NaN where nothing."""
    return column(table, "score" if "score" in table.column_names else "correct").astype(float)


def with_facts(table: pa.Table, facts: Mapping[str, Any]) -> pa.Table:
    """The table with what its task says of the whole, which goes into the summary as it is."""
    return table.replace_schema_metadata({"facts": json.dumps(facts)})


def facts_of(table: pa.Table) -> dict[str, Any]:
    """What `with_facts` put there."""
    return json.loads((table.schema.metadata or {}).get(b"facts", b"{}"))


def write_table(table: pa.Table, path: Path) -> None:
    """Parquet, whole or not at all, without secrets in its texts. Raises EvalError where it cannot be written."""
    for name in {"prompt", "output"} & set(table.column_names):
        texts = table.column(name).to_pylist()
        if (public := masked(texts)) != texts:
            kept = pa.array(public, table.schema.field(name).type)
            table = table.set_column(table.column_names.index(name), table.schema.field(name), kept)
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    write_atomic(path, buffer.getvalue())


def read_table(path: Path) -> pa.Table:
    """A table from disk. Raises EvalError for a missing or broken file."""
    try:
        if path.exists() and not path.is_file():
            raise EvalError(f"{path}: not a readable table: no regular file")
        with path.open("rb") as handle:  # the library itself opens no path that is not UTF-8
            return pq.ParquetFile(handle).read()
    except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
        raise EvalError(f"{path}: not a readable table: {error}") from error
