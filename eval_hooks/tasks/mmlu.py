"""MMLU (Hendrycks et al. 2021, arXiv:2009.03300): 57 subjects, four options; from the hub or from files.

By path: a folder with dev, val and test as .csv, .csv.gz or .jsonl (header subject, idx, question, A, B, C, D, answer),
or one such file. Read with the csv module, so that an option `None` stays text (pandas turns ten test rows into nan).
"""

import csv
import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from eval_hooks.config import TaskSpec
from eval_hooks.errors import EvalError
from eval_hooks.items import ChoiceItem, ChoiceSet, choice_item, limited
from eval_hooks.json_text import encodes, parse_json

HUB_ID = "cais/mmlu"
ENDINGS = (".csv", ".csv.gz", ".jsonl", ".jsonl.gz")
LONGEST = 16 << 20
"""Characters of a line."""
SPLIT_NAMES = {"val": "validation", "validation": "val"}


def load(spec: TaskSpec) -> ChoiceSet:
    """The items of a task entry and their dev rows. Raises EvalError for what is missing or malformed."""
    if spec.path is None:
        return select(spec, _from_hub(spec.split), _from_hub("dev") if spec.n_shots else [])
    path = Path(spec.path)
    if path.is_file():
        dev = _split_file(path.parent, "dev") if spec.n_shots else None
        return select(spec, read_file(path), read_file(dev) if dev else [])
    if not path.is_dir():
        raise EvalError(
            f"{spec.task}: path {spec.path}: no such file or folder; give a folder with {spec.split}.csv, or one file"
        )
    file = _split_file(path, spec.split)
    if file is None:
        raise EvalError(
            f"{spec.task}: {path} has no file for split {spec.split!r} ({spec.split} with one of {', '.join(ENDINGS)})"
        )
    dev = _split_file(path, "dev") if spec.n_shots else None
    return select(spec, read_file(file), read_file(dev) if dev else [])


def select(spec: TaskSpec, items: list[ChoiceItem], dev: list[ChoiceItem]) -> ChoiceSet:
    """The asked subjects, `limit` items of them, and the first `shots` dev rows of each subject.

    Raises EvalError for an unknown subject, a subject with too few dev rows, two items with one id, or no items at all.
    """
    known = list(dict.fromkeys(item.subject for item in items))
    if unknown := [subject for subject in spec.subjects if subject not in known]:
        raise EvalError(f"{spec.task}: subjects {unknown} are not in the data; there are: {', '.join(known[:60])}")
    if spec.subjects:
        items = [item for subject in spec.subjects for item in items if item.subject == subject]
    chosen = limited(items, spec.limit)
    if not chosen:
        raise EvalError(f"{spec.task}: no items in split {spec.split!r}")
    seen: set[str] = set()
    for item in chosen:
        if item.item_id in seen:
            raise EvalError(f"{spec.task}: two items are called {item.item_id}; idx must be unique within a subject")
        seen.add(item.item_id)
    solved: dict[str, tuple[ChoiceItem, ...]] = {}
    for subject in dict.fromkeys(item.subject for item in chosen):
        rows = tuple(row for row in dev if row.subject == subject)[: spec.n_shots]
        if len(rows) < spec.n_shots:
            raise EvalError(
                f"{spec.task}: subject {subject} has {len(rows)} dev rows, shots is {spec.n_shots}; lower shots or add "
                "dev rows"
            )
        solved[subject] = rows
    return ChoiceSet(items=chosen, dev=solved)


def read_file(path: Path) -> list[ChoiceItem]:
    """All items of a .csv or .jsonl file, plain or .gz, in its order."""
    rows = _jsonl_rows if ".jsonl" in path.name.lower() else _csv_rows
    return [choice_item(row, f"{path}:{line}", order) for order, (line, row) in enumerate(rows(path))]


def _lines(path: Path) -> Iterator[str]:
    """Raises EvalError for what is no text, and for a line without an end: a small .gz may unpack to one."""
    packed = path.suffix.lower() == ".gz"
    opener: Any = gzip.open if packed else open
    try:
        with opener(path, "rt", encoding="utf-8-sig", newline="") as handle:
            while line := handle.readline(LONGEST + 1):
                if len(line) > LONGEST:
                    raise EvalError(f"{path}: a line of more than {LONGEST:,} characters; no question is so long")
                yield line
    except (UnicodeDecodeError, EOFError, zlib.error, OSError) as error:  # what gzip says of a file that is none, too
        raise EvalError(f"{path}: not readable as UTF-8 text{' in gzip' if packed else ''}: {error}") from error


def _csv_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    csv.field_size_limit(LONGEST)  # of the whole process; its default refuses a text of 131,072 characters
    reader = csv.DictReader(_lines(path), restkey="", restval=None)
    try:
        header = list(reader.fieldnames or [])
        if twice := [name for name in header if header.count(name) > 1]:
            raise EvalError(f"{path}:1: column {twice[0]!r} is there twice; every column needs a name of its own")
        for row in reader:
            if "" in row:
                raise EvalError(
                    f"{path}:{reader.line_num}: more fields than the header has columns ({', '.join(header)})"
                )
            yield reader.line_num, row
    except csv.Error as error:
        raise EvalError(f"{path}:{reader.line_num}: not CSV: {error}; is a quote open?") from error


def _jsonl_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    for line, text in enumerate(_lines(path), 1):
        if text.strip():
            row = parse_json(text.rstrip("\r\n"), f"{path}:{line}")
            if "\\ud" in text.lower() and not encodes(row):
                raise EvalError(f"{path}:{line}: half of a character (\\ud800 to \\udfff); write both halves, or none")
            yield line, row


def _split_file(folder: Path, split: str) -> Path | None:
    names = [split, SPLIT_NAMES.get(split, split)]
    return next((folder / (name + end) for name in names for end in ENDINGS if (folder / (name + end)).is_file()), None)


def _from_hub(split: str) -> list[ChoiceItem]:
    """Rows of the hub copy, numbered within their subject, so that ids agree with the per-subject files."""
    import datasets

    try:
        rows = datasets.load_dataset(HUB_ID, "all", split=SPLIT_NAMES["val"] if split == "val" else split)
    except Exception as error:  # the hub raises a dozen classes for one thing: the data cannot be had here
        raise EvalError(
            f"mmlu: {HUB_ID} split {split!r} cannot be loaded ({type(error).__name__}: "
            f"{str(error).splitlines()[0][:120]}); "
            "with a network run `hf auth login` where it is gated, offline give path: a folder of CSV files, or use "
            "task: pocket"
        ) from error
    count: dict[str, int] = {}
    items = []
    for order, row in enumerate(rows):
        idx = count.get(row["subject"], 0)
        count[row["subject"]] = idx + 1
        items.append(choice_item({**row, "idx": idx}, f"{HUB_ID}/{split} row {order}", order))
    return items
