"""A mix of sources that are read only as far as it needs them: drawn by weight in tokens, until it has enough.

For sources too large to be read whole. The next row comes from the source that is furthest behind its share of the
tokens so far; within a source rows keep their order. So they lie in the mix; training takes them in the order that
`mix.py` tells of. The same settings give the same rows, so a later run may go on
behind an earlier one (`skip_tokens`).
"""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, NoReturn

from data_mix import DataError
from data_mix.bad_rows import BadRows, Row, refuse
from data_mix.config import DataConfig, SourceSpec
from data_mix.forms import Form
from data_mix.json_text import json_text
from data_mix.read import usable
from data_mix.render import Dropped, Rendering

AHEAD = 10_000
"""Rows behind a bad one that are looked at for more, where a source is streamed."""


@dataclass
class Tally:
    """What was taken of one source."""

    spec: SourceSpec
    read: int = 0
    rows: int = 0
    tokens: int = 0
    supervised: int = 0
    rounds: int = 1
    dropped: Counter[str] = field(default_factory=Counter)
    bad: BadRows = field(init=False)
    digest: Any = field(default_factory=hashlib.sha256)

    def __post_init__(self) -> None:
        self.bad = BadRows(self.spec.name)

    def facts(self) -> dict[str, Any]:
        """The manifest's entry; `epochs` only counts how often the source was begun."""
        return {
            "source": self.spec.source, "read": self.read + self.bad.total, "rows": self.rows, "tokens": self.tokens,
            "supervised_tokens": self.supervised, "dropped": {**self.dropped, **self.bad.counts},
            "bad_rows": self.bad.places, "sha256": self.digest.hexdigest(), "epochs": float(self.rounds),
        }  # fmt: skip


def draw(config: DataConfig, form: Form, tokenizer: Any, how: Rendering, tallies: Sequence[Tally]) -> Iterator[Any]:
    """Encoded rows up to `config.until_tokens`, without those within the first `config.skip_tokens`.

    Ends early where a source without `repeat` is used up. Raises DataError where no row can be used, and for the first
    rows that cannot be, unless they are dropped.
    """
    assert config.until_tokens is not None
    weights = _shares(config)
    streams = [_encoded(tally, config, form, tokenizer, how) for tally in tallies]
    used = [0] * len(tallies)
    while sum(used) < config.until_tokens:
        at = max(range(len(used)), key=lambda i: weights[i] * (sum(used) + 1) - used[i])
        row = next(streams[at], None)
        if row is None:
            if not tallies[at].spec.repeat:
                break
            if not used[at]:
                raise DataError(f"data source {tallies[at].spec.name}: none of its rows can be used")
            tallies[at].rounds += 1
            streams[at] = _encoded(tallies[at], config, form, tokenizer, how)
            continue
        before = sum(used)
        used[at] += row.tokens
        if before >= config.skip_tokens:
            tallies[at].rows += 1
            tallies[at].tokens += row.tokens
            tallies[at].supervised += row.supervised
            yield row
    if sum(used) <= config.skip_tokens:
        raise DataError(
            f"data: the sources have {sum(used):,} tokens, and the first {config.skip_tokens:,} are for the run "
            "before; give more, or repeat: true"
        )


def _shares(config: DataConfig) -> list[float]:
    given = [spec.weight for spec in config.train]
    if len(given) == 1:
        return [1.0]
    if None in given:
        raise DataError("data.train: with until_tokens every source of several needs a weight")
    total = sum(weight for weight in given if weight is not None)
    return [weight / total for weight in given if weight is not None]


def _encoded(tally: Tally, config: DataConfig, form: Form, tokenizer: Any, how: Rendering) -> Iterator[Any]:
    drops, rows = config.bad_rows == "drop", usable(tally.spec, config.seed, form, tally.bad)
    for where, raw in rows:
        try:
            found = form.encode(raw, tokenizer, how)
        except DataError as error:
            tally.bad.add(where, str(error))
            found = None
        if tally.bad.total and not drops:
            _refuse(tally, rows)
        if found is None:
            continue
        tally.read += 1
        tally.digest.update(json_text(raw, sort_keys=True, default=str, ensure_ascii=False).encode())
        for one in found:
            if isinstance(one, Dropped):
                tally.dropped[one.reason] += 1
            else:
                yield one
    if tally.bad.total and not drops:
        _refuse(tally, rows)


def _refuse(tally: Tally, rows: Iterator[tuple[str, Row]]) -> NoReturn:
    """Raise DataError with the bad rows so far and those among the next ones: a source may be too long to be read."""
    further = sum(1 for _ in islice(rows, AHEAD))
    refuse([(tally.bad, tally.read + further + tally.bad.total)])
    raise AssertionError("a bad row was seen")
