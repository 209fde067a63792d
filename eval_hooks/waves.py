"""An evaluation in waves: the items that can flip come first, and it ends when the verdict is decided.

Step 0 was scored whole, so its table says how close each item was to flipping (`retention.strata`). A wave takes items
of all strata and visits every subject once; between waves, and only there, the change so far is looked at. All ranks
score; the writing rank alone knows the base, draws and decides.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from eval_hooks.forward import Prefixes, Progress, free_memory
from eval_hooks.ranks import from_writer
from eval_hooks.ready import Ready
from eval_hooks.retention.looks import Seen, decide
from eval_hooks.retention.spending import ALPHA
from eval_hooks.retention.strata import Change, allocate, assumed_rates, change, learned_rates, margins, order, strata
from eval_hooks.table import choice_table, column
from eval_hooks.tasks.kinds.choice import choice_rows

SIZES = (400, 400, 400, 400, 600, 800, 1000, 1500, 2500)
"""Items of each wave, of MMLU's 14,042; in proportion of fewer. Then half of what is left, again and again."""
MMLU = 14_042
SMALLEST = 50
"""Items of a wave at least: of fewer, a tenth by margin gives one or two to the first looks, which decide nothing."""
LATE_SHARE = 0.25
"""Of alpha that a look after a halving gets, against one of the first nine: by then little is undecided."""


@dataclass(frozen=True, kw_only=True)
class Looks:
    """When an evaluation in waves may end."""

    allowed: float
    """The loss that is to be excluded or proven."""
    alpha: float = ALPHA
    """Chance of a wrong decision, over all looks of this evaluation; at 0 nothing can be decided, and it ends where it
    would by itself, at 5 %."""
    seed: int = 0

    @property
    def deciding(self) -> float:
        """The alpha at which it ends."""
        return self.alpha or ALPHA


class Drawn:
    """What was drawn and what it says, on the writing rank.

    `last` is the record of the evaluation before: what flipped there steers the shares. `used_up` says when no further
    wave may begin. Raises EvalError for a base whose margins cannot be had.
    """

    def __init__(
        self,
        before: pa.Table,
        looks: Looks,
        last: Mapping[str, Any] | None = None,
        used_up: Callable[[], bool] = lambda: False,
    ) -> None:
        self.before, self.looks, self.used_up = before, looks, used_up
        self.stratum = strata(margins(before))
        self.sizes = np.bincount(self.stratum)
        self.waves = self.plan()
        self.seen = Seen(shares(self.waves))
        self.looked = 0
        self.end = ""
        """Why no further wave was drawn."""
        self._order = order(self.stratum, looks.seed)
        self._rates = _rates(last, len(self.sizes))
        self._scored = np.zeros_like(self.sizes)
        self._right = column(before, "correct").astype(float)
        self._change = np.full(len(self._right), np.nan)

    def plan(self) -> list[int]:
        """Items of each wave, the last one what is left."""
        return wave_sizes(len(self.stratum))

    def next(self) -> list[int] | None:
        """The items of the next wave, in their own order; None where no more are needed."""
        self.end = self._why_not_more()
        if self.end:
            return None
        more = allocate(self.sizes, self._scored, self._rates, self.waves[self.looked])
        parts = [items[n : n + m] for items, n, m in zip(self._order, self._scored, more, strict=True)]
        self._scored = self._scored + more
        return sorted(int(i) for part in parts for i in part)

    def add(self, wave: Sequence[int], table: pa.Table) -> None:
        """What the wave's items gave; a look."""
        self.note(wave, column(table, "correct").astype(float) - self._right[list(wave)])

    def note(self, wave: Sequence[int], change: np.ndarray) -> None:
        """The same, from what changed: -1, 0 or 1 of each item."""
        self._change[list(wave)] = change
        self.looked += 1
        if not self.whole:
            self.seen.add(self.change())

    @property
    def items(self) -> np.ndarray:
        """Items scored, in their own order."""
        return np.flatnonzero(~np.isnan(self._change))

    @property
    def changed(self) -> np.ndarray:
        """What changed of each scored item, (n,): -1, 0 or 1."""
        return self._change[self.items]

    @property
    def whole(self) -> bool:
        """Whether all were."""
        return not np.isnan(self._change).any()

    def change(self) -> Change:
        """The mean change over all items, from those scored."""
        return change(self.by_stratum(self.changed), self.sizes)

    def by_stratum(self, values: np.ndarray) -> list[np.ndarray]:
        """Values of the scored items (n,), apart by stratum."""
        stratum = self.stratum[self.items]
        return [values[stratum == h] for h in range(len(self.sizes))]

    def weights(self) -> np.ndarray:
        """How many items each scored one stands for, (n,)."""
        stratum = self.stratum[self.items]
        return (self.sizes / np.bincount(stratum, minlength=len(self.sizes)))[stratum]

    def record(self) -> dict[str, Any]:
        """What a summary says of it."""
        found = self.change()
        return {
            "end": self.end, "looks": self.looked, "z": self.seen.bounds(self.looks.deciding).tolist(),
            "alpha": self.looks.alpha, "allowed": self.looks.allowed, "uncorrected": found.value,
            "of_stratum": self.sizes.tolist(), "scored": found.scored.tolist(),
            "flips": (found.lost + found.gained).tolist(),
        }  # fmt: skip

    def interval(self, alpha: float) -> tuple[float, float]:
        """Of the change of all items, where some are not scored; holds at all looks together in 1 - alpha."""
        return self.seen.interval(alpha)

    def value(self) -> float:
        """The change of all items, what ended the looking taken into account."""
        return self.change().value if self.whole else self.seen.value(self.looks.allowed, self.looks.deciding)

    def _why_not_more(self) -> str:
        if not self.looked:
            return ""
        if self.whole:
            return "all items are scored"
        decision = decide(self.interval(self.looks.deciding), self.looks.allowed)
        if decision != "undecided":
            alone = "" if self.looks.alpha else " by this evaluation alone"
            return f"a loss of more than {100 * self.looks.allowed:g} points is {decision}{alone}"
        return "eval.cost_limit is used up" if self.used_up() else ""


def wave_sizes(n: int) -> list[int]:
    """Items of each wave of n; the last one takes what is left."""
    left, out = n, []
    for wanted in (max(SMALLEST, round(size * n / MMLU)) for size in SIZES):
        if wanted < left:
            out.append(wanted)
            left -= wanted
    while left >= 2 * SMALLEST:
        out.append(left // 2)
        left -= out[-1]
    return [*out, left]


def shares(waves: Sequence[int]) -> list[float]:
    """Of alpha, by look, fixed before anything is scored; none for the last wave, after which all is known."""
    weights = [1.0 if k < len(SIZES) else LATE_SHARE for k in range(len(waves) - 1)]
    return [weight / sum(weights) for weight in weights]


def _rates(last: Mapping[str, Any] | None, groups: int) -> np.ndarray:
    if last is None or len(last["scored"]) != groups:
        return assumed_rates(groups)
    return learned_rates(np.array(last["flips"]), np.array(last["scored"]))


def in_waves(task: Ready, model: Any, drawn: Drawn | None, progress: Progress) -> pa.Table:
    """The table of the items that were scored, on every rank; `drawn` is the writing rank's, None elsewhere."""
    found: dict[int, pa.Table] = {}
    prefixes = Prefixes(free_memory(model) // 4)
    while (wave := from_writer(drawn.next() if drawn else None)) is not None:
        table = choice_table(choice_rows(task, model, progress, only=wave, prefixes=prefixes))
        found |= {item: table.slice(row, 1) for row, item in enumerate(wave)}
        if drawn:
            drawn.add(wave, table)
    progress(len(task) - len(found))
    return pa.concat_tables(found[item] for item in sorted(found)).combine_chunks()
