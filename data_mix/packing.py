"""Several documents in one row of fixed length: laid end to end, or fitted; seeing each other or not.

`wrapped` lays all documents end to end and cuts every `length` tokens (concat); `bfd` and `bfd_split` are TRL's
best-fit decreasing, which cuts off, or splits, what is longer than a row. Rows with `seq_lengths` keep their documents
apart: positions restart, and attention stays within a document. Without that column a row is one text.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datasets import Dataset


@dataclass(frozen=True, kw_only=True)
class Packing:
    """How documents are packed."""

    length: int
    strategy: str = "bfd"
    """wrapped, bfd or bfd_split."""
    across: bool = False
    """Documents of a row see each other."""
    seed: int | None = 0
    """Rows are shuffled before they are packed; None: they are packed as they lie in the mix, which only `wrapped`
    keeps (the others put rows together by their lengths)."""


def pack(dataset: "Dataset", packing: Packing) -> "Dataset":
    """The packed rows; every token once, in order, but for what `bfd` cuts off."""
    dataset = dataset if packing.seed is None else dataset.shuffle(seed=packing.seed)
    if packing.strategy == "wrapped":
        from datasets import Dataset

        packed = Dataset.from_list(list(laid_end_to_end(dataset, packing.length)))
    else:
        from trl import pack_dataset

        packed = pack_dataset(dataset, packing.length, packing.strategy)
    return packed.remove_columns("seq_lengths") if packing.across else packed


def laid_end_to_end(rows: Any, length: int) -> Iterator[dict[str, Any]]:
    """Rows of `length` tokens, the last one shorter; `seq_lengths` are those of the documents' pieces in a row."""
    columns: dict[str, list[Any]] = {}
    pieces: list[int] = []
    for row in rows:
        begin, end = 0, len(row["input_ids"])
        while begin < end:
            take = min(end - begin, length - sum(pieces))
            for name, values in row.items():
                columns.setdefault(name, []).extend(values[begin : begin + take])
            pieces.append(take)
            begin += take
            if sum(pieces) == length:
                yield {**columns, "seq_lengths": pieces}
                columns, pieces = {}, []
    if pieces:
        yield {**columns, "seq_lengths": pieces}
