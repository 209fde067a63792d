"""Sources to the exact rows trained on: read, hold out, tokenise, mix, pack; once, cached, with a manifest."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from data_mix import DataError
from data_mix.config import DataConfig, SourceSpec
from data_mix.forms import FORMS, Encode, Form
from data_mix.mix import draw_order, epochs_over
from data_mix.render import ANSWERS, Dropped, Rendering

if TYPE_CHECKING:
    from datasets import Dataset

CONVERSATIONS = FORMS["conversations"]
FORMAT = 2
"""Raised when the same settings give other rows than before, so that old caches are not taken."""


@dataclass(frozen=True, kw_only=True)
class Packing:
    """TRL's packing: several rows in one, without looking at each other."""

    length: int
    strategy: str = "bfd"
    seed: int = 0
    """Rows are shuffled before they are packed."""


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
    raw: list[dict[str, Any]]
    rows: list[Any] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)

    def facts(self) -> dict[str, Any]:
        """The manifest's entry."""
        return {
            "source": self.spec.source or f"from {self.spec.split_from}",
            "read": len(self.raw),
            "rows": len(self.rows),
            "tokens": sum(row.tokens for row in self.rows),
            "supervised_tokens": sum(row.supervised for row in self.rows),
            "dropped": dict(self.dropped),
            "sha256": _digest(self.raw),
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

    `form` says which rows may be trained on and what they become. Raises DataError with source and row for what cannot
    be used, and where no row remains.
    """
    train, validation = read(config, form)
    key = _key(config, form, [*train, *validation], tokenizer, how, packing)
    held = {part.spec.name: part for part in validation}
    judged = replace(how, messages=ANSWERS, completions=ANSWERS)  # one scale for every method: the loss of answers
    for part in validation:
        _encode_part(part, form.held_out, tokenizer, judged, progress)
    folder = cache / "data" / key
    if (folder / "manifest.json").is_file():
        return _built(folder, held, cached=True)
    for part in train:
        _encode_part(part, form.encode, tokenizer, how, progress)
    order = _order(config, train)
    rows = [train[source].rows[row] for source, row in order]
    dataset = _dataset([row.columns(how) for row in rows], packing)
    manifest = {
        "hash": key,
        "train": {
            p.spec.name: {**p.facts(), "epochs": epochs}
            for p, epochs in zip(train, epochs_over(order, [len(p.rows) for p in train]), strict=True)
        },
        "validation": {name: part.facts() for name, part in held.items()},
        "mix": {"rows": len(order), "packed_rows": len(dataset), "tokens": _tokens(dataset, rows)},
    }
    _save(dataset, manifest, folder)
    return _built(folder, held, cached=False)


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

    Raises DataError for an unreadable source, a row to train on of a shape that is not the form's, and for a
    held-out part that would leave train or itself empty.
    """
    train = [read_source(spec, config.seed, form.shapes) for spec in config.train]
    validation = []
    for spec in config.validation:
        if not spec.split_from:
            validation.append(read_source(spec, config.seed))
            continue
        rng = Random(f"{config.seed}/{spec.name}")
        held: list[dict[str, Any]] = []
        for part in train:
            chosen = set(rng.sample(range(len(part.raw)), round((spec.fraction or 0.0) * len(part.raw))))
            held += [row for i, row in enumerate(part.raw) if i in chosen]
            part.raw = [row for i, row in enumerate(part.raw) if i not in chosen]
        if not held or not any(part.raw for part in train):
            raise DataError(
                f"data.validation.{spec.name}: fraction {spec.fraction} of the train rows leaves one side empty; give "
                "more rows or another fraction"
            )
        validation.append(Part(spec=spec, raw=held))
    return train, validation


def read_source(spec: SourceSpec, seed: Any, shapes: Sequence[str] | None = None) -> Part:
    """All rows of a source in TRL's columns. Raises DataError, also for a shape that is none of `shapes`."""
    from data_mix.catalog import SOURCES
    from data_mix.shapes import normalise, shape_of

    rows = SOURCES[spec.source].rows(spec.config, Random(f"{seed}/{spec.name}"))
    path = getattr(spec.config, "path", None)
    where = f"{spec.name} ({path})" if path else spec.name
    raw = [normalise(row, spec, f"{where} row {number}") for number, row in enumerate(rows, 1)]
    for number, row in enumerate(raw, 1):
        if shapes and shape_of(row) not in shapes:
            raise DataError(
                f"{where} row {number}: its shape is {shape_of(row)}; this stage trains on {' or '.join(shapes)} "
                "(rename with columns, or choose another stage)"
            )
    if not raw:
        raise DataError(f"data source {spec.name} ({spec.source}): no rows")
    return Part(spec=spec, raw=raw)


def _encode_part(part: Part, encode: Encode, tokenizer: Any, how: Rendering, progress: Progress) -> None:
    for number, row in enumerate(progress(part.raw, f"tokenise {part.spec.name}"), 1):
        try:
            results = encode(row, tokenizer, how)
        except DataError as error:
            raise DataError(f"data source {part.spec.name} row {number}: {error}") from error
        for result in results or [Dropped(reason="no trained assistant turn")]:
            if isinstance(result, Dropped):
                part.dropped[result.reason] += 1
            else:
                part.rows.append(result)
    if not part.rows:
        raise DataError(
            f"data source {part.spec.name}: none of {len(part.raw)} rows can be trained on: {dict(part.dropped)}; "
            "raise train.max_length or change the data"
        )


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


def _dataset(rows: Sequence[dict[str, Any]], packing: Packing | None) -> "Dataset":
    from datasets import Dataset

    dataset = Dataset.from_list(list(rows))
    if packing:
        from trl import pack_dataset

        dataset = pack_dataset(dataset.shuffle(seed=packing.seed), packing.length, packing.strategy)
    return dataset


def _tokens(dataset: "Dataset", rows: Sequence[Any]) -> int:
    """Tokens of the mix: those that packing left, else those of the rows."""
    laid = "input_ids" in dataset.column_names
    return sum(map(len, dataset["input_ids"])) if laid else sum(row.tokens for row in rows)


def _key(
    config: DataConfig,
    form: Form,
    parts: Sequence[Part],
    tokenizer: Any,
    how: Rendering,
    packing: Packing | None,
) -> str:
    """Hash of all that decides the rows: data, mixing, template text, tokenizer, settings."""
    return _digest(
        [
            FORMAT,
            form.shapes,
            asdict(config),
            [_digest(part.raw) for part in parts],
            tokenizer.chat_template,
            hashlib.sha256(tokenizer.backend_tokenizer.to_str().encode()).hexdigest(),
            [tokenizer.bos_token, tokenizer.eos_token],
            asdict(how),
            asdict(packing) if packing else None,
        ]
    )[:16]


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str, ensure_ascii=False).encode()).hexdigest()


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
    import os
    import shutil
    import tempfile

    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(dir=folder.parent))
        try:
            with _no_bars():
                dataset.save_to_disk(str(scratch / "train"))
            (scratch / "manifest.json").write_text(json.dumps(manifest, indent=1), "utf-8")
            shutil.rmtree(folder, ignore_errors=True)
            os.replace(scratch, folder)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    except OSError as error:
        raise DataError(
            f"data cache {folder}: {error.strerror or error}; free some space or point TEMPERING_CACHE at another disk"
        ) from error
