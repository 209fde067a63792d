"""A data set of the Hugging Face hub, or a folder that `datasets` can load."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from random import Random
from typing import Any

from data_mix import DataError
from data_mix.plain_values import plain


@dataclass(frozen=True, kw_only=True)
class Hub:
    """Which data set."""

    path: str
    """Repository id."""
    subset: str | None = None
    """The data set's own configuration name."""
    split: str = "train"
    revision: str | None = None
    streaming: bool = False
    """Download rows as they are needed; for data.until_tokens."""
    n: int | None = None
    """At most this many rows, the first ones; then only they are downloaded."""


def rows(cfg: Hub, rng: Random) -> Iterator[dict[str, Any]]:
    """Rows as they are. Raises DataError with the next step where the hub says no or cannot be reached."""
    import datasets

    try:
        data = datasets.load_dataset(
            cfg.path, cfg.subset, split=cfg.split, revision=cfg.revision, streaming=cfg.streaming or cfg.n is not None
        )
    except Exception as error:  # the hub raises a dozen classes for: this data cannot be had here
        raise DataError(
            f"source hub {cfg.path!r} (subset {cfg.subset}, split {cfg.split!r}): {_next_step(error)}"
        ) from error
    return islice(_rows(data, cfg), cfg.n)


def _rows(data: Any, cfg: Hub) -> Iterator[dict[str, Any]]:
    """Raises DataError where a row cannot be had: a network that ends, an image without its decoder."""
    rows = enumerate(data, 1)
    number = 0
    while True:
        try:
            number, row = next(rows)
        except StopIteration:
            return
        except Exception as error:
            raise DataError(
                f"source hub {cfg.path!r} (subset {cfg.subset}, split {cfg.split!r}) behind row {number}: "
                f"{_next_step(error)}"
            ) from error
        yield plain(row)


def _next_step(error: Exception) -> str:
    text = f"{type(error).__name__}: {error}"
    first = text.splitlines()[0][:200]
    if "gated" in text.lower() or "401" in text or "403" in text:
        return f"access refused; accept the licence on its page and run `hf auth login` ({first})"
    if "Unknown split" in text or "BuilderConfig" in text:
        return first
    return (
        "cannot be loaded; check spelling and network, or download it and use source: jsonl or parquet with a path "
        f"({first})"
    )
