"""Sources to the exact rows trained on: read, hold out, tokenise, mix, pack; once, cached, with a manifest."""

import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from data_mix import DataError
from data_mix.bad_rows import BadRows, Row, refuse
from data_mix.config import DataConfig, SourceSpec
from data_mix.forms import FORMS, Encode, Form
from data_mix.json_text import json_text
from data_mix.keys import digest_of, key_of
from data_mix.mix import draw_order, epochs_over
from data_mix.packing import Packing, pack
from data_mix.read import numbered, usable
from data_mix.render import ANSWERS, Dropped, Rendering
from data_mix.signature import signature
from data_mix.stream import Tally, draw
from data_mix.today import told

if TYPE_CHECKING:
    from datasets import Dataset

CONVERSATIONS = FORMS["conversations"]
FORMAT = 5
"""Raised when the same settings give other rows than before, so that old caches are not taken."""


@dataclass(frozen=True, kw_only=True)
class Mix:
    """What a run trains and validates on."""

    train: "Dataset"
    """The form's columns; for tokens input_ids, labels, parts where asked for, seq_lengths where packed."""
    validation: Mapping[str, list[Any]]
    """The form's held-out rows."""
    manifest: Mapping[str, Any]
    cached: bool
    """It was there already."""


@dataclass
class Part:
    """One source on its way: its rows, what became of them."""

    spec: SourceSpec
    raw: list[Row]
    bad: BadRows
    unread: int = 0
    """Rows that are not in `raw`, since they could not be used as they stand."""
    rows: list[Any] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)

    @property
    def read(self) -> int:
        """Rows that were looked at."""
        return len(self.raw) + self.unread

    def facts(self) -> dict[str, Any]:
        """The manifest's entry."""
        return {
            "source": self.spec.source or f"from {self.spec.split_from}",
            "read": self.read,
            "rows": len(self.rows),
            "tokens": sum(row.tokens for row in self.rows),
            "supervised_tokens": sum(row.supervised for row in self.rows),
            "dropped": {**self.dropped, **self.bad.counts},
            "bad_rows": self.bad.places,
            "sha256": digest_of(self.raw),
        }


Progress = Callable[[Sequence[Any], str], Any]
"""(things, description) -> the same things, shown as a bar."""


def plain(things: Sequence[Any], description: str) -> Sequence[Any]:
    """No bar."""
    return things


def build(
    config: DataConfig,
    tokenizer: Any,
    how: Rendering,
    cache: Path,
    packing: Packing | None = None,
    progress: Progress = plain,
    form: Form = CONVERSATIONS,
) -> Mix:
    """Build the mix, or take it from the cache where data, template text and settings are the same.

    `form` says which rows may be trained on and what they become. Raises DataError with file and line for rows that
    cannot be used, all of them, unless `config.bad_rows` drops them; and where none remains.
    """
    train, validation = _gather(config, form)
    key = _key(config, form, [*train, *validation], tokenizer, how, packing)
    held = _encode_held_out(validation, form, tokenizer, how, progress)
    folder = cache / "data" / key
    if (folder / "manifest.json").is_file():
        _check_left(config, validation)
        return _built(folder, held, cached=True)
    if config.until_tokens is None:
        for part in train:
            _encode_part(part, form.encode, tokenizer, how, progress)
    _check_left(config, [*train, *validation])
    if config.until_tokens is None:
        dataset, facts, drawn = _whole(config, train, how)
    else:
        dataset, facts, drawn = _streamed(config, form, tokenizer, how, cache / "data" / f"{key}.part")
    packed = pack(dataset, packing) if packing else dataset
    laid = "input_ids" in packed.column_names
    manifest = {
        "hash": key,
        "train": facts,
        "validation": {name: part.facts() for name, part in held.items()},
        "mix": {
            "rows": len(dataset),
            "packed_rows": len(packed),
            "tokens": sum(map(len, packed["input_ids"])) if laid else drawn,
        },
    }
    _save(packed, manifest, folder)
    shutil.rmtree(cache / "data" / f"{key}.part", ignore_errors=True)
    return _built(folder, held, cached=False)


def held_out(config: DataConfig, tokenizer: Any, how: Rendering, form: Form = CONVERSATIONS) -> dict[str, Part]:
    """The validation sets alone, as `build` makes them; train rows are read only where a set is held out of them.

    Raises DataError as `build` does.
    """
    taken = any(spec.split_from for spec in config.validation)
    _, validation = _gather(config if taken else replace(config, train=()), form)
    held = _encode_held_out(validation, form, tokenizer, how, plain)
    _check_left(config, validation)
    return held


def _encode_held_out(
    validation: Sequence[Part], form: Form, tokenizer: Any, how: Rendering, progress: Progress
) -> dict[str, Part]:
    """The sets by name, tokenised on one scale for every method: the loss of answers."""
    judged = replace(how, messages=ANSWERS, completions=ANSWERS)
    for part in validation:
        _encode_part(part, form.held_out, tokenizer, judged, progress)
    return {part.spec.name: part for part in validation}


def _check_left(config: DataConfig, parts: Sequence[Part]) -> None:
    """Raise DataError for rows that are not to be dropped, and for a part of which none remains."""
    check_bad(config, parts)
    for part in parts:
        if not part.rows:
            reasons = ", ".join(f"{reason} ({n} rows)" for reason, n in part.facts()["dropped"].items())
            raise DataError(
                f"data source {part.spec.name}: none of {part.read} rows can be trained on: {reasons}; "
                "raise train.max_length or change the data"
            )


def _whole(config: DataConfig, train: Sequence[Part], how: Rendering) -> tuple["Dataset", dict[str, Any], int]:
    """The mix of sources that are read whole: (rows as they lie in the mix, facts by source, tokens)."""
    from datasets import Dataset

    order = _order(config, train)
    rows = [train[source].rows[row] for source, row in order]
    facts = {
        p.spec.name: {**p.facts(), "epochs": epochs}
        for p, epochs in zip(train, epochs_over(order, [len(p.rows) for p in train]), strict=True)
    }
    return Dataset.from_list([row.columns(how) for row in rows]), facts, sum(row.tokens for row in rows)


def _streamed(
    config: DataConfig, form: Form, tokenizer: Any, how: Rendering, scratch: Path
) -> tuple["Dataset", dict[str, Any], int]:
    """The same of sources that are read as far as needed; written to disk row by row."""
    from datasets import Dataset

    tallies = [Tally(spec=spec) for spec in config.train]

    shutil.rmtree(scratch, ignore_errors=True)  # of a build that was killed: its rows would be taken, uncounted

    def rows() -> Iterator[dict[str, Any]]:
        for row in draw(config, form, tokenizer, how, tallies):
            yield row.columns(how)

    with _no_bars(), _own_errors():
        dataset = Dataset.from_generator(rows, cache_dir=str(scratch), fingerprint=scratch.stem)
    assert isinstance(dataset, Dataset)
    return dataset, {tally.spec.name: tally.facts() for tally in tallies}, sum(tally.tokens for tally in tallies)


@contextmanager
def _own_errors() -> Iterator[None]:
    """Takes a DataError out of the library's wrapping."""
    from datasets.exceptions import DatasetGenerationError

    try:
        yield
    except DatasetGenerationError as error:
        cause = error.__cause__ or error.__context__
        if isinstance(cause, DataError):
            raise cause from None
        raise


def _built(folder: Path, held: Mapping[str, Part], cached: bool) -> Mix:
    """The mix of a cache entry, read from disk: TRL caches further columns beside a data set's files, for all ranks."""
    from datasets import load_from_disk

    return Mix(
        train=load_from_disk(str(folder / "train")),
        validation={name: part.rows for name, part in held.items()},
        manifest=json.loads((folder / "manifest.json").read_text("utf-8")),
        cached=cached,
    )


def read(config: DataConfig, form: Form = CONVERSATIONS) -> tuple[list[Part], list[Part]]:
    """Rows of every train and validation source in TRL's columns; held-out rows are taken from train first.

    Raises DataError for an unreadable source, for all rows that cannot be used unless they are dropped (among them rows
    to train on of a shape that is not the form's), and for a held-out part that would leave train or itself empty.
    """
    train, validation = _gather(config, form)
    check_bad(config, [*train, *validation])
    return train, validation


def _gather(config: DataConfig, form: Form) -> tuple[list[Part], list[Part]]:
    """The same, with the rows that cannot be used."""
    streamed = config.until_tokens is not None
    train = [] if streamed else [_part(spec, partial(usable, spec, config.seed, form)) for spec in config.train]
    validation = []
    for spec in config.validation:
        if not spec.split_from:
            validation.append(_part(spec, partial(numbered, spec, config.seed, None)))
            continue
        if streamed:
            raise DataError(
                f"data.validation.{spec.name}: nothing can be held out of rows that are streamed (data.until_tokens); "
                "name a source of its own"
            )
        rng = Random(f"{config.seed}/{spec.name}")
        held: list[Row] = []
        for part in train:
            chosen = set(rng.sample(range(len(part.raw)), round((spec.fraction or 0.0) * len(part.raw))))
            held += [row for i, row in enumerate(part.raw) if i in chosen]
            part.raw = [row for i, row in enumerate(part.raw) if i not in chosen]
        if not held or not any(part.raw for part in train):
            check_bad(config, train)
            raise DataError(
                f"data.validation.{spec.name}: fraction {spec.fraction} of the train rows leaves one side empty; give "
                "more rows or another fraction"
            )
        validation.append(Part(spec=spec, raw=held, bad=BadRows(spec.name)))
    return train, validation


def _part(spec: SourceSpec, rows: Callable[[BadRows], Iterator[tuple[str, Row]]]) -> Part:
    """All rows of a source. Raises DataError where it has none."""
    bad = BadRows(spec.name)
    raw = [row for _, row in rows(bad)]
    if not raw and not bad.total:
        raise DataError(f"data source {spec.name} ({spec.source}): no rows")
    return Part(spec=spec, raw=raw, bad=bad, unread=bad.total)


def read_source(spec: SourceSpec, seed: Any) -> Part:
    """All rows of a source in TRL's columns. Raises DataError, for all rows that cannot be used."""
    part = _part(spec, partial(numbered, spec, seed, None))
    refuse([(part.bad, part.read)])
    return part


def check_bad(config: DataConfig, parts: Sequence[Part]) -> None:
    """Raise DataError with the rows of all parts that cannot be used, unless they are dropped."""
    if config.bad_rows == "error":
        refuse([(part.bad, part.read) for part in parts])


def _encode_part(part: Part, encode: Encode, tokenizer: Any, how: Rendering, progress: Progress) -> None:
    for row in progress(part.raw, f"tokenise {part.spec.name}"):
        try:
            results = encode(row, tokenizer, how)
        except DataError as error:
            part.bad.add(row.where, str(error))
            continue
        for result in results or [Dropped(reason="no trained assistant turn")]:
            if isinstance(result, Dropped):
                part.dropped[result.reason] += 1
            else:
                part.rows.append(result)


def _order(config: DataConfig, train: Sequence[Part]) -> list[tuple[int, int]]:
    sizes = [len(part.rows) for part in train]
    means = [sum(row.tokens for row in part.rows) / len(part.rows) for part in train]
    return draw_order(
        sizes,
        [part.spec.weight for part in train],
        [part.spec.repeat for part in train],
        Random(f"{config.seed}/mix"),
        tokens_per_row=means if config.weight_by == "tokens" else None,
    )


def _key(
    config: DataConfig,
    form: Form,
    parts: Sequence[Part],
    tokenizer: Any,
    how: Rendering,
    packing: Packing | None,
) -> str:
    """Of all that decides the rows: data, mixing, template text, tokenizer, settings."""
    return key_of(
        FORMAT,
        form.signature(),
        asdict(config),
        [signature(spec) for spec in config.train] if config.until_tokens else None,
        [[digest_of(part.raw), part.bad.counts] for part in parts],
        tokenizer.chat_template,
        told(tokenizer.chat_template),
        digest_of(tokenizer.backend_tokenizer.to_str()),
        [tokenizer.bos_token, tokenizer.eos_token],
        asdict(how),
        asdict(packing) if packing else None,
    )


@contextmanager
def _no_bars() -> Iterator[None]:
    """The library's bar for a file that is written in no time is noise."""
    from datasets import disable_progress_bars, enable_progress_bars, is_progress_bar_enabled

    shown = is_progress_bar_enabled()
    disable_progress_bars()
    yield
    if shown:
        enable_progress_bars()


def _save(dataset: "Dataset", manifest: Mapping[str, Any], folder: Path) -> None:
    """Into a folder beside, renamed into place, so that a cache entry is whole or absent."""
    import tempfile

    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(dir=folder.parent))
        try:
            with _no_bars():
                dataset.save_to_disk(str(scratch / "train"))
            (scratch / "manifest.json").write_text(json_text(manifest, indent=1), "utf-8")
            shutil.rmtree(folder, ignore_errors=True)
            os.replace(scratch, folder)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    except OSError as error:
        raise DataError(
            f"data cache {folder}: {error.strerror or error}; free some space or point TEMPERING_CACHE at another disk"
        ) from error
