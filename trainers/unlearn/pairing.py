"""Rows to forget, each with a row to retain beside it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from torch import Tensor
from torch.utils.data import Dataset

from trainers import TrainError
from trainers.batches import extra_of
from trainers.logprobs import Tokens

SIDES = ("forget", "retain")


@dataclass(frozen=True, kw_only=True)
class ForgetBatch:
    """As many rows of either side; retain is None where the method does not look at it."""

    forget: Tokens
    retain: Tokens | None = None
    extra: Mapping[str, Tensor] = field(default_factory=dict)
    """The method's own columns of the rows to forget: (B,) or (B, n)."""
    retain_extra: Mapping[str, Tensor] = field(default_factory=dict)
    """The same of the rows to retain."""


class Pairs(Dataset[dict[str, Any]]):
    """Item i is row i of the forget side, with a row of the retain side drawn uniformly with replacement.

    So an epoch goes once over what is to be forgotten. The draw depends on seed, epoch and i alone: a resumed
    run, or one on other ranks, draws the same.
    """

    def __init__(self, rows: Any, seed: int) -> None:
        self.seed, self.epoch = seed, 0
        self.sides: dict[str, list[dict[str, Any]]] = {side: [] for side in SIDES}
        for row in rows:
            self.sides[row["side"]].append(row)

    def __len__(self) -> int:
        return len(self.sides["forget"])

    def __getitem__(self, index: int) -> dict[str, Any]:
        retain = self.sides["retain"]
        item = {"forget": self.sides["forget"][index]}
        if retain:
            item["retain"] = retain[Random(f"{self.seed}/{self.epoch}/{index}").randrange(len(retain))]
        return item


def check_sides(rows: Any, needed: Sequence[str]) -> None:
    """Raise TrainError for a side that is missing, a side that is unknown, or rows on both sides."""
    sides: dict[str, set[Any]] = {}
    for row in rows:
        sides.setdefault(row["side"], set()).add((tuple(row["input_ids"]), tuple(row["labels"])))
    if unknown := sorted(set(sides) - set(SIDES)):
        raise TrainError(f"data.train: side {unknown[0]!r} is neither forget nor retain; leave those rows out")
    for side in needed:
        if side not in sides:
            raise TrainError(
                f"data.train: no row to {side}, which the method needs; give a source with side: {side}"
                + (", or set method.alpha: 0" if side == "retain" else "")
            )
    if both := sides.get("forget", set()) & sides.get("retain", set()):
        raise TrainError(
            f"data.train: {len(both)} rows stand on both sides, to forget and to retain; take them out of one"
        )


class PairsCollator:
    """Pads each side on the right; masks come from lengths."""

    def __init__(self, pad_id: int, columns: Sequence[str] = ()) -> None:
        self.pad_id, self.columns = pad_id, columns

    def __call__(self, items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Columns `<side>_<input_ids | attention_mask | labels | reference>`, each (B, T); `<side>_extra`, a map."""
        batch: dict[str, Any] = {}
        for side in SIDES:
            rows = [item[side] for item in items if side in item]
            if rows:
                batch |= {f"{side}_{name}": value for name, value in padded(rows, self.pad_id).items()}
                batch |= {f"{side}_extra": extra_of(rows, self.columns)} if self.columns else {}
        return batch


def padded(rows: Sequence[Mapping[str, Any]], pad_id: int) -> dict[str, Tensor]:
    """input_ids, attention_mask, labels (B, T); reference (B, T - 1) where the rows have it."""
    import torch

    width = max(len(row["input_ids"]) for row in rows)

    def laid(values: Sequence[Sequence[Any]], fill: float, to: int) -> Tensor:
        return torch.tensor([[*row, *[fill] * (to - len(row))] for row in values])

    columns = {
        "input_ids": laid([row["input_ids"] for row in rows], pad_id, width),
        "attention_mask": laid([[1] * len(row["input_ids"]) for row in rows], 0, width),
        "labels": laid([row["labels"] for row in rows], -100, width),
    }
    if "reference" in rows[0]:
        columns["reference"] = laid([row["reference"] for row in rows], 0.0, width - 1)
    return columns


def batch_of(columns: Mapping[str, Any]) -> ForgetBatch:
    """The batch that methods take."""
    forget, retain = (
        {name.removeprefix(f"{side}_"): value for name, value in columns.items() if name.startswith(f"{side}_")}
        for side in SIDES
    )
    extra, retain_extra = forget.pop("extra", {}), retain.pop("extra", {})
    return ForgetBatch(
        forget=Tokens(**forget), retain=Tokens(**retain) if retain else None, extra=extra, retain_extra=retain_extra
    )
