"""The pocket bank: 855 four-option questions over MMLU's 57 subjects, in no model's training data.

Each subject has 5 dev rows (validation at 0 shots) and 10 test rows. Rows: subject, split, idx, question, choices,
answer (a letter).
"""

from dataclasses import replace
from pathlib import Path

from eval_hooks.config import TaskSpec
from eval_hooks.errors import EvalError
from eval_hooks.items import ChoiceItem, ChoiceSet
from eval_hooks.tasks.mmlu import read_file, select

FOLDER = Path(__file__).parent
SPLIT_OF = {"validation": "dev", "val": "dev", "dev": "dev", "test": "test"}


def load(spec: TaskSpec) -> ChoiceSet:
    """The bank's items of a split, with their dev rows. Raises EvalError for another split."""
    if spec.path is not None:
        raise EvalError(
            f"pocket: path {spec.path!r}: the bank is embedded; for your own questions use task: mmlu with path"
        )
    split = SPLIT_OF.get(spec.split)
    if split is None:
        raise EvalError(f"pocket: split {spec.split!r}: there are test and dev (also called validation)")
    if split == "dev" and spec.n_shots:
        raise EvalError("pocket: the dev split holds the shots themselves; score it at shots: 0")
    return select(replace(spec, split=split), bank(split), bank("dev") if spec.n_shots else [])


def bank(split: str) -> list[ChoiceItem]:
    """All items of `dev` or `test`, subject by subject."""
    return read_file(FOLDER / f"{split}.jsonl")
