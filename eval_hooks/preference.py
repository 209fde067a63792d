"""Held-out preference pairs: how likely either answer is, and what changed since step 0.

The model at step 0 is the reference, and its numbers are in step 0's table: no second model is needed. With c, r the
summed log-probabilities of chosen and rejected now, and c0, r0 at step 0: margin = (c - c0) - (r - r0), in nats; DPO's
reward margin is beta times that. A pair counts as right where the margin is above 0 (Rafailov et al. 2023,
arXiv:2305.18290); where both c and r fall, the chosen answer is displaced too (Razin et al. 2024, arXiv:2410.08847).

How far the model has gone on these prompts is the divergence KL(step 0 || now), in nats an answer: answers are drawn
from the model at step 0, once, and both say how likely they are. No second model is needed for that either. And the
model writes its own answers, whose length is given.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from eval_hooks.copies import clusters_of, copies, told
from eval_hooks.estimate import Estimate, missing
from eval_hooks.forward import Progress, no_progress
from eval_hooks.generate import continuations
from eval_hooks.intervals import bootstrap_mean, share
from eval_hooks.results.schemas import PAIRS
from eval_hooks.scoring.options import sum_logp
from eval_hooks.table import column
from eval_hooks.trees import Texts, each_tree

ANSWERED = 64
"""Prompts that are answered freely at each evaluation, the first ones."""
LONGEST = 512
"""Tokens of such an answer, at most; less where the pairs' own answers are short."""


@dataclass(frozen=True, kw_only=True)
class PairItem:
    """A prompt with two answers, tokenised."""

    item_id: str
    prompt: tuple[int, ...]
    chosen: tuple[int, ...]
    rejected: tuple[int, ...]


@dataclass(frozen=True)
class Answers:
    """A prompt with answers that ride on it (`trees.Tree`); every token of an answer is scored."""

    shared: Sequence[int]
    branches: Sequence[Sequence[int]]
    group: str = ""

    @property
    def scored(self) -> list[int]:
        """How many of a text's last tokens are its answer."""
        return list(map(len, self.branches))

    @property
    def tokens(self) -> int:
        """Tokens run through the model."""
        return len(self.shared) + sum(self.scored) - len(self.branches)


def answer_logps(model: Any, trees: Sequence[Answers], progress: Progress = no_progress) -> list[list[float]]:
    """Summed log-probability of each answer of each tree, in nats, fp32."""
    return each_tree(model, trees, _sums, None, progress)


def _sums(texts: Texts) -> list[float]:
    return [float(sum_logp(logits, tokens)) for logits, tokens in texts]


def pairs_table(
    name: str,
    model: Any,
    tokenizer: Any,
    items: Sequence[PairItem],
    starts: Sequence[Sequence[int]] | None = None,
    progress: Progress = no_progress,
) -> pa.Table:
    """One row a pair. `starts` are the answers that step 0 drew; without them this is step 0, and they are drawn."""
    again = copies([item.item_id for item in items], [(i.prompt, i.chosen, i.rejected) for i in items])
    found = answer_logps(model, [Answers(item.prompt, (item.chosen, item.rejected)) for item in items], progress)
    rows: list[dict[str, Any]] = [
        {
            "task": name,
            "item_id": item.item_id,
            "chosen_logp": chosen,
            "rejected_logp": rejected,
            "chosen_tokens": len(item.chosen),
            "rejected_tokens": len(item.rejected),
            "copy_of": again.get(item.item_id),
        }
        for item, (chosen, rejected) in zip(items, found, strict=True)
    ]
    for row, more in zip(rows, _answered(model, tokenizer, items, starts), strict=False):
        row |= more
    return pa.Table.from_pylist(rows, schema=PAIRS.columns)


def _answered(
    model: Any, tokenizer: Any, items: Sequence[PairItem], starts: Sequence[Sequence[int]] | None
) -> list[dict[str, Any]]:
    """Columns of the first prompts, answered freely."""
    prompts = [item.prompt for item in items[:ANSWERED]]
    limit = min(LONGEST, max(16, 2 * max(len(item.chosen) for item in items)))
    written = continuations(model, tokenizer, prompts, limit)
    drawn = starts or continuations(model, tokenizer, prompts, limit, sample=True)
    known = answer_logps(model, [Answers(prompt, (answer,)) for prompt, answer in zip(prompts, drawn, strict=True)])
    return [
        {"start_answer": answer, "start_logp": logp, "written_tokens": len(new)}
        for answer, (logp,), new in zip(drawn, known, written, strict=True)
    ]


def drawn_at_start(table: pa.Table) -> list[list[int]]:
    """The answers that step 0 drew, from its table."""
    return [answer for answer in table.column("start_answer").to_pylist() if answer]


def summarise_pairs(table: pa.Table, baseline: pa.Table | None) -> dict[str, Any]:
    """Accuracy, margin, and what became of either answer, each with its interval; the margin needs step 0's table."""
    chosen, rejected = column(table, "chosen_logp"), column(table, "rejected_logp")
    clusters = clusters_of(table)
    likelier = share(chosen / column(table, "chosen_tokens") > rejected / column(table, "rejected_tokens"), clusters)
    mean = partial(bootstrap_mean, clusters=clusters)
    entry: dict[str, Any] = {
        "kind": "pairs",
        "n": table.num_rows,
        "copies": told(table),
        "chosen_logp": mean(chosen).as_dict(),
        "rejected_logp": mean(rejected).as_dict(),
        "likelier": likelier.as_dict(),
        "length": _answered_mean(table, _known(table, "written_tokens")).as_dict(),
    }
    if baseline is None:
        none = missing("step 0 is what margins are measured against", table.num_rows).as_dict()
        return {**entry, **dict.fromkeys(("accuracy", "margin", "chosen_change", "rejected_change", "kl"), none)}
    up = chosen - column(baseline, "chosen_logp")
    down = rejected - column(baseline, "rejected_logp")
    margin = up - down
    return {
        **entry,
        "accuracy": share(np.asarray(margin > 0), clusters).as_dict(),
        "margin": mean(margin).as_dict(),
        "chosen_change": mean(up).as_dict(),
        "rejected_change": mean(down).as_dict(),
        "kl": _answered_mean(table, _known(baseline, "start_logp") - _known(table, "start_logp")).as_dict(),
    }


def _answered_mean(table: pa.Table, values: np.ndarray) -> Estimate:
    """Mean of the values of the first prompts, those that are answered freely."""
    return bootstrap_mean(values, clusters=clusters_of(table.slice(0, len(values))))


def _known(table: pa.Table, name: str) -> Any:
    """A column where it is not null."""
    return np.asarray(table.column(name).drop_null(), dtype=float)
