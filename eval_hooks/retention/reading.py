"""Which items flipped, to read: what was asked, what is right, what the model said before and says now."""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from eval_hooks.items import LETTERS, ChoiceItem
from eval_hooks.table import kind_of

MOST = 20
"""Flips shown each way."""
TAIL = 300
"""Characters shown of a long prompt or answer: a prompt's last ones, where the question is."""


def flips_to_read(
    before: pa.Table, after: pa.Table, asked: Mapping[str, ChoiceItem], most: int = MOST
) -> list[dict[str, Any]]:
    """The items lost, then the items gained, at most `most` of each, those with the most confident answer now first.

    `before` has every item of `after`; `asked` has the multiple-choice items by id, where their texts are known. Each
    row: flip (`lost` or `gained`), item_id, subject, question, gold, before, after, conf_before, conf_after. A free
    answer has neither subject nor confidence; those come in the order of the items.
    """
    row = _choice if kind_of(after) == "choice" else _written
    first = {a["item_id"]: a for a in before.to_pylist()}
    pairs = [row(a, b, asked) for b in after.to_pylist() if (a := first[b["item_id"]])["correct"] != b["correct"]]
    surest = sorted(pairs, key=lambda pair: -(pair["conf_after"] or 0.0))
    return [pair for flip in ("lost", "gained") for pair in [p for p in surest if p["flip"] == flip][:most]]


Row = Mapping[str, Any]


def _choice(a: Row, b: Row, asked: Mapping[str, ChoiceItem]) -> dict[str, Any]:
    item = asked.get(b["item_id"])
    return {
        **_common(b),
        "subject": b["subject"],
        "question": tail(item.question) if item else "",
        "gold": _option(item, b["gold"]),
        "before": _option(item, a["pred"]),
        "after": _option(item, b["pred"]),
        "conf_before": a["conf"],
        "conf_after": b["conf"],
    }


def _option(item: ChoiceItem | None, i: int) -> str:
    return f"{LETTERS[i]}. {item.choices[i]}" if item else LETTERS[i]


def _written(a: Row, b: Row, asked: Mapping[str, ChoiceItem]) -> dict[str, Any]:
    said = [tail(row["output"]) if row["output"] is not None else ("wrong", "right")[row["correct"]] for row in (a, b)]
    return {
        **_common(b),
        "subject": None,
        "question": tail(b["prompt"]),
        "gold": tail(b["gold"]),
        "before": said[0],
        "after": said[1],
        "conf_before": None,
        "conf_after": None,
    }


def _common(b: Row) -> dict[str, Any]:
    return {"flip": "gained" if b["correct"] else "lost", "item_id": b["item_id"]}


def tail(text: str, length: int = TAIL) -> str:
    """The end of a text, with a mark where the beginning is left out."""
    return text if len(text) <= length else "… " + text[-length:]
