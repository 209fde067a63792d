"""MMLU (Hendrycks et al. 2021, arXiv:2009.03300): 57 subjects, four options; from the hub or from files.

By path: a folder with dev, val and test as .csv, .csv.gz or .jsonl (header subject, idx, question, A, B, C, D, answer),
or one such file. Read with the csv module, so that an option `None` stays text (pandas turns ten test rows into nan).
"""

import csv
import gzip
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from eval_hooks.config import TaskSpec
from eval_hooks.errors import EvalError
from eval_hooks.items import ChoiceItem, ChoiceSet, choice_item, choice_items, limited, refuse
from eval_hooks.json_text import encodes, parse_json

HUB_ID = "cais/mmlu"
ENDINGS = (".csv", ".csv.gz", ".jsonl", ".jsonl.gz")
LONGEST = 16 << 20
"""Characters of a line."""
SPLIT_NAMES = {"val": "validation", "validation": "val"}


def load(spec: TaskSpec) -> ChoiceSet:
    """The items of a task entry and their dev rows. Raises EvalError for what is missing or malformed."""
    if spec.path is None:
        return select(spec, _from_hub(spec, spec.split), _from_hub(spec, "dev") if spec.n_shots else [])
    path = Path(spec.path)
    if path.is_file():
        dev = _split_file(path.parent, "dev") if spec.n_shots else None
        return select(spec, *read_files(path, dev, spec.gold_base))
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
    return select(spec, *read_files(file, dev, spec.gold_base))


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
    times = Counter(item.item_id for item in chosen)
    refuse(
        [
            f"{spec.task}: {'two' if n == 2 else n} items are called {name}; idx must be unique within a subject"
            for name, n in times.items()
            if n > 1
        ]
    )
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


def read_files(items: Path, dev: Path | None, gold_base: int | None) -> tuple[list[ChoiceItem], list[ChoiceItem]]:
    """All items of a file and of the one with the dev rows, if there is one; both count their answers alike.

    Raises EvalError with all bad lines of both, and where no answer is 0 and nothing is said.
    """
    made = choice_items([_rows(path) if path else () for path in (items, dev)], gold_base)
    return made[0], made[1]


def read_file(path: Path) -> list[ChoiceItem]:
    """All items of a .csv or .jsonl file, plain or .gz, in its order; numbers count from 0."""
    return read_files(path, None, 0)[0]


def _rows(path: Path) -> Iterator[tuple[str, dict[str, Any]] | EvalError]:
    """(file:line, row), or what is wrong with a line, those after it being read all the same."""
    return _jsonl_rows(path) if ".jsonl" in path.name.lower() else _csv_rows(path)


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


def _csv_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]] | EvalError]:
    csv.field_size_limit(LONGEST)  # of the whole process; its default refuses a text of 131,072 characters
    reader = csv.DictReader(_lines(path), restkey="", restval=None)
    try:
        header = list(reader.fieldnames or [])
        if twice := [name for name in header if header.count(name) > 1]:
            raise EvalError(f"{path}:1: column {twice[0]!r} is there twice; every column needs a name of its own")
        for row in reader:
            where = f"{path}:{reader.line_num}"
            more = f"{where}: more fields than the header has columns ({', '.join(header)})"
            yield EvalError(more) if "" in row else (where, row)
    except csv.Error as error:  # nothing after it can be told into rows
        yield EvalError(f"{path}:{reader.line_num}: not CSV: {error}; is a quote open?")


def _jsonl_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]] | EvalError]:
    for line, text in enumerate(_lines(path), 1):
        if text.strip():
            yield _json_row(text, f"{path}:{line}")


def _json_row(text: str, where: str) -> tuple[str, dict[str, Any]] | EvalError:
    try:
        row = parse_json(text.rstrip("\r\n"), where)
    except EvalError as error:
        return error
    if "\\ud" in text.lower() and not encodes(row):
        return EvalError(f"{where}: half of a character (\\ud800 to \\udfff); write both halves, or none")
    return where, row


def _split_file(folder: Path, split: str) -> Path | None:
    names = [split, SPLIT_NAMES.get(split, split)]
    return next((folder / (name + end) for name in names for end in ENDINGS if (folder / (name + end)).is_file()), None)


def _from_hub(spec: TaskSpec, split: str) -> list[ChoiceItem]:
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
        where = f"{HUB_ID}/{split} row {order}"
        items.append(choice_item({**row, "idx": idx}, where, order, spec.gold_base or 0))
    return items
