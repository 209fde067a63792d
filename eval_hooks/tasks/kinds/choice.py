"""Options of which one is right: scored by their log-probabilities, so that confidence and guessing are known."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from eval_hooks.calibration.brier import decompose
from eval_hooks.calibration.ece import reliability
from eval_hooks.calibration.nll import clipped, nll
from eval_hooks.calibration.numbers import calibration
from eval_hooks.calibration.rescaled import rescaled
from eval_hooks.calibration.rise import ece_rise
from eval_hooks.config import Role, TaskSpec
from eval_hooks.copies import clusters_of, copies
from eval_hooks.encode import encode
from eval_hooks.forward import Prefixes, Progress
from eval_hooks.items import LETTERS, ChoiceItem, ChoiceSet
from eval_hooks.results.flips import tail
from eval_hooks.results.macro import macro
from eval_hooks.results.schemas import CHOICE
from eval_hooks.retention import gold_logp
from eval_hooks.retention.noise import noise_of
from eval_hooks.retention.scored import of_run
from eval_hooks.retention.spending import Look
from eval_hooks.retention.subjects import by_group
from eval_hooks.scoring.options import score
from eval_hooks.table import chance, choice_table, column, marks
from eval_hooks.tasks.categories import CATEGORY_OF
from eval_hooks.tasks.kinds.kind import Beside, ItemNumbers, Kind, Row, score_numbers
from eval_hooks.tasks.prepared import Reader, Ready, digest
from eval_hooks.validation import validation_spec
from eval_hooks.variants import FORMS

if TYPE_CHECKING:
    import pyarrow as pa


SATURATED = 0.9999
"""Confidence from which on a model says that it cannot be wrong: ranking and rescaling have little left to work on."""


def prepare(spec: TaskSpec, role: Role, reader: Reader, items: ChoiceSet, judge: Any = None) -> Ready:
    """Prompts and options as token ids. Raises EvalError for what rendering refuses."""
    encoded = tuple(encode(items, spec, reader.tokenizer, reader.max_length, dict(reader.template_kwargs)))
    return Ready(
        spec=spec,
        role=role,
        choices=encoded,
        copies=copies([one.item_id for one in items.items], [(i.question, i.choices, i.gold) for i in items.items]),
        first_prompt=encoded[0].prompt,
        prompt_hash=digest([[item.shared, item.branches, item.scored] for item in encoded]),
        validation=prepare(validation_spec(spec), role, reader, items.validation) if items.validation else None,
    )


def measure(task: Ready, model: Any, reader: Reader, progress: Progress) -> "pa.Table":
    """The table of all items."""
    return choice_table(choice_rows(task, model, progress))


def choice_rows(
    task: Ready,
    model: Any,
    progress: Progress,
    *,
    only: Sequence[int] | None = None,
    prefixes: Prefixes | None = None,
    intact: bool = False,
) -> list[dict[str, Any]]:
    """Rows of `choice_table`, of all items or `only` of some; `prefixes` were run before on the same weights.

    `intact`: in the batches that all items make, for numbers that are equal to the last bit.
    """
    cloze = FORMS[task.spec.variant].cloze
    budget = task.spec.batch_tokens
    scores = score(model, task.choices, budget, progress, only=only, prefixes=prefixes, intact=intact)
    asked = task.choices if only is None else [task.choices[i] for i in only]
    return [
        {
            "task": task.name,
            "item_id": encoded.item.item_id,
            "subject": encoded.item.subject,
            "variant": task.spec.variant,
            "shots": task.spec.n_shots,
            "gold": encoded.item.gold,
            "logp": list(result.logp),
            "chars": [len(choice) for choice in encoded.item.choices],
            "letter_mass": None if cloze else result.mass,
            "prompt_tokens": encoded.context_tokens,
            "copy_of": task.copies.get(encoded.item.item_id),
        }
        for encoded, result in zip(asked, scores, strict=True)
    ]


def summarise(table: "pa.Table", beside: Beside) -> dict[str, Any]:
    """Calibration, letters, subjects."""
    conf, mass = column(table, "conf"), column(table, "letter_mass")
    numbers = {**calibration(table), **rescaled(table, beside.validation, beside.temperature_split)}
    return {
        "variant": table.column("variant")[0].as_py(),
        "shots": table.column("shots")[0].as_py(),
        "chance": chance(table),
        "noise": noise.as_dict() if (noise := noise_of(table)) else None,
        "accuracy_macro": macro(table).as_dict(),
        "calibration": {name: e.as_dict() for name, e in numbers.items()},
        "temperature_split": beside.temperature_split,
        "brier_terms": vars(decompose(conf, marks(table))),
        "ties": int(column(table, "tie").sum()),
        "saturated": float((conf >= SATURATED).mean()),
        "nll_clipped": clipped(column(table, "p_gold")),
        "letter_mass": None if table.column("letter_mass").null_count == len(mass) else float(np.nanmean(mass)),
        "by_subject": by_group(table, beside.baseline),
        "by_category": by_group(table, beside.baseline, lambda subject: CATEGORY_OF.get(subject, "other subjects")),
        "reliability": reliability(conf, marks(table), clusters=clusters_of(table)),
    }


def change(before: "pa.Table", after: "pa.Table", look: Look) -> dict[str, Any]:
    """The rise of calibration error, of one look and of the run."""
    return {
        "ece_rise": ece_rise(before, after).as_dict(),
        "ece_rise_run": of_run(ece_rise(before, after, look.alpha), look),
    }


def numbers(table: "pa.Table") -> dict[str, ItemNumbers]:
    """Right or wrong, and how much of the right option the model holds.

    p_gold: its probability among the options; nll: the negative logarithm of that; logp_gold: its raw log-probability;
    in cloze form bits_per_char.
    """
    p_gold, logp = column(table, "p_gold"), gold_logp(table)
    found = {"p_gold": p_gold, "nll": nll(p_gold), "logp_gold": logp}
    if table.column("letter_mass").null_count == table.num_rows:
        both = (table.column(name).to_pylist() for name in ("chars", "gold"))
        chars = np.array([c[gold] for c, gold in zip(*both, strict=True)], dtype=float)
        found["bits_per_char"] = -logp / np.log(2.0) / np.maximum(chars, 1.0)
    return score_numbers(table) | {name: ItemNumbers(values=values) for name, values in found.items()}


def flip(before: Row, after: Row, asked: Mapping[str, ChoiceItem]) -> dict[str, Any]:
    """The question, and the options chosen before and after."""
    item = asked.get(after["item_id"])
    return {
        "subject": after["subject"],
        "question": tail(item.question) if item else "",
        "gold": _option(item, after["gold"]),
        "before": _option(item, before["pred"]),
        "after": _option(item, after["pred"]),
        "conf_before": before["conf"],
        "conf_after": after["conf"],
    }


def _option(item: ChoiceItem | None, i: int) -> str:
    return f"{LETTERS[i]}. {item.choices[i]}" if item else LETTERS[i]


KIND = Kind(
    schema=CHOICE,
    prepare=prepare,
    measure=measure,
    summarise=summarise,
    change=change,
    numbers=numbers,
    flip=flip,
)
