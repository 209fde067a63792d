"""The per-item table: everything that is said of a model is a function of it."""

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from eval_hooks.errors import EvalError
from eval_hooks.files import write_atomic
from eval_hooks.json_text import json_text
from eval_hooks.masking import masked
from eval_hooks.results.schemas import CHOICE, GENERATE, LOSS, RECALL, SCORE, SHARE, WRITTEN, Better, Schema, schema_of

RECALL_METRICS = ("em_value", "em_answer", "probability_value", "probability_answer", "truth_ratio", "rouge_l")


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
    return pa.Table.from_pylist(full, schema=CHOICE.columns)


def generate_table(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """The table of a generative task, from its columns."""
    return pa.Table.from_pylist(list(rows), schema=GENERATE.columns)


def written_table(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """The table of a generative task of lm-eval, from its columns."""
    return pa.Table.from_pylist(list(rows), schema=WRITTEN)


def scored_table(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """The table of a task of lm-eval that has neither options nor answers, from its columns."""
    return pa.Table.from_pylist(list(rows), schema=SCORE.columns)


def recall_table(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """The table of a recall task, from its columns."""
    return pa.Table.from_pylist(list(rows), schema=RECALL.columns)


def loss_table(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """The table of a held-out loss: summed nats and trained tokens per row."""
    return pa.Table.from_pylist(list(rows), schema=LOSS.columns)


def column(table: pa.Table, name: str) -> np.ndarray:
    """A column as numpy; nulls become NaN."""
    return table.column(name).to_numpy(zero_copy_only=False)


def chance(table: pa.Table) -> float:
    """Accuracy of guessing: mean of 1 / number of options; 0 for free answers."""
    return float((1.0 / column(table, "n_options")).mean()) if schema_of(table).options else 0.0


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
    note = {"seconds": f"{seconds:.3f}"} | ({} if noise is None else {"noise": json_text(noise)})
    return _with_note(table, note)


def _with_note(table: pa.Table, note: Mapping[str, str]) -> pa.Table:
    return table.replace_schema_metadata({**(table.schema.metadata or {}), **note})


def noted(table: pa.Table, name: str) -> str | None:
    """What such a note says; None where it says nothing."""
    found = (table.schema.metadata or {}).get(name.encode())
    return None if found is None else found.decode()


def seconds_of(table: pa.Table) -> float:
    """How long a table took; 0 where nobody noted it."""
    return float(noted(table, "seconds") or 0.0)


@dataclass(frozen=True, kw_only=True)
class Scale:
    """What a score means."""

    unit: str
    better: Better

    @property
    def share(self) -> bool:
        """It says of an item how much of it is right, so that what is right can be counted."""
        return self.unit == SHARE and self.better == "up"


def scale_of(table: pa.Table, *others: pa.Table) -> Scale:
    """The scale of the items' scores, of several tables that of those that are no shares, if there is one."""
    found = [_scale(schema_of(one), facts_of(one)) for one in (table, *others)]
    return next((scale for scale in found if not scale.share), found[0])


def _scale(schema: Schema, facts: Mapping[str, Any]) -> Scale:
    better: Better = "down" if facts.get("better", schema.better) == "down" else "up"
    return Scale(unit=str(facts.get("unit", schema.unit)), better=better)


def marks(table: pa.Table) -> np.ndarray:
    """What each item earned, (n,): 1 for right, 0 for wrong, a part or a number where its task gives those; NaN: none.

    Of a loss it is the mean over the item's tokens.
    """
    schema = schema_of(table)
    earned = column(table, next(name for name in schema.score if name in table.column_names)).astype(float)
    return earned if schema.per is None else earned / np.maximum(column(table, schema.per), 1.0)


def weights(table: pa.Table) -> np.ndarray | None:
    """What each item counts by in the mean, (n,); None where all count alike."""
    name = schema_of(table).weight
    if name is None or name not in table.column_names or table.column(name).null_count:
        return None
    return column(table, name).astype(float)


def with_facts(table: pa.Table, facts: Mapping[str, Any]) -> pa.Table:
    """The table with what its task says of the whole, which goes into the summary as it is."""
    return _with_note(table, {"facts": json_text(facts)})


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


def readable(path: Path) -> pa.Table | None:
    """A table that is there and whole."""
    try:
        return read_table(path) if path.is_file() else None
    except EvalError:
        return None


def read_table(path: Path) -> pa.Table:
    """A table from disk. Raises EvalError for a missing or broken file."""
    try:
        if path.exists() and not path.is_file():
            raise EvalError(f"{path}: not a readable table: no regular file")
        with path.open("rb") as handle:  # the library itself opens no path that is not UTF-8
            return pq.ParquetFile(handle).read()
    except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
        raise EvalError(f"{path}: not a readable table: {error}") from error
