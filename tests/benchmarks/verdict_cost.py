"""Tokens until a verdict at a margin of 1 point, against lm-eval's full pass over the same MMLU items.

The model is stood in for by what it measured once, before and after a light tuning (tests/eval_hooks/measured.py), so
that a thousand reshuffles cost a minute. With MMLU in $TEMPER_DATA/mmlu:
    python -m tests.benchmarks.verdict_cost [margin, default 0.01] [reshuffles, default 1000]
"""

import sys
from collections.abc import Callable

import numpy as np
import pyarrow as pa
from transformers import AutoTokenizer

from eval_hooks.encode import Encoded, encode
from eval_hooks.retention.strata import assumed_rates, order
from eval_hooks.table import column
from eval_hooks.tasks.mmlu import load
from eval_hooks.trees import layout
from eval_hooks.waves import Drawn, Looks
from tests.benchmarks.machine import machine
from tests.benchmarks.mmlu_speed import spec_of
from tests.eval_hooks.measured import measured
from trainers.fetch import fetch


def main() -> None:
    """Print tokens of each way, and how often each was wrong."""
    numbers = [float(word) for word in sys.argv[1:]]
    margin, reshuffles = [*numbers, *(0.01, 1000)[len(numbers) :]]
    before, x = measured("light")
    tokenizer, spec = AutoTokenizer.from_pretrained(fetch("smollm2-135m-instruct")), spec_of("olmes_cf", 5)
    items = list(encode(load(spec), spec, tokenizer, 8192, {}))
    assert [one.item.item_id for one in items] == before.column("item_id").to_pylist()
    print(
        f"MMLU, {len(items):,} items, olmes_cf, 5 shots; step 0 {column(before, 'correct').mean():.1%}, change "
        f"{100 * x.mean():+.2f} points, {np.count_nonzero(x) / len(x):.1%} flipped; margin {100 * margin:g}, {machine()}"
    )
    lm_eval, cost = sum(map(lm_eval_tokens, items)), Cost(items)
    print(f"  lm-eval, every item   {lm_eval:12,} tokens")
    print(
        f"  prefixes shared       {cost.of(np.arange(len(items))):12,} tokens, {lm_eval / cost.of(np.arange(len(items))):.1f}x"
    )
    for name, draw in (("and stopped early", at_random), ("and drawn by margin", Drawn)):
        used, n, wrong, open_ = simulate(before, x, draw, margin, int(reshuffles), cost)
        print(
            f"  {name:21} {np.median(used):12,.0f} tokens, {lm_eval / np.median(used):.1f}x; median {np.median(n):,.0f} "
            f"items; wrong {wrong / reshuffles:.2%}, undecided to the end {open_ / reshuffles:.2%}"
        )


class Cost:
    """Tokens run for a set of items: each subject's prefix once, and each item's own."""

    def __init__(self, items: list[Encoded]) -> None:
        self.own, self.prefix = np.zeros(len(items), dtype=int), {}
        self.subject = np.array([one.item.subject for one in items])
        for job in layout(items, 1 << 30):
            for i in job.members:
                self.own[i] = items[i].tokens - len(job.prefix)
                self.prefix[items[i].item.subject] = len(job.prefix)

    def of(self, chosen: np.ndarray) -> int:
        """As the waves run them, with prefixes kept between waves."""
        return int(self.own[chosen].sum()) + sum(self.prefix[name] for name in np.unique(self.subject[chosen]))


def lm_eval_tokens(item: Encoded) -> int:
    """What lm-eval's hf backend runs, padding left out: each option whole; options of one token share one pass."""
    lengths = {len(branch) for branch in item.branches}
    if lengths == {1}:
        return len(item.shared)
    return sum(len(item.shared) + len(branch) - 1 for branch in item.branches)


def at_random(before: pa.Table, looks: Looks) -> Drawn:
    """The same waves and looks, without strata."""
    drawn = Drawn(before, looks)
    drawn.stratum = np.zeros_like(drawn.stratum)
    drawn.sizes = np.bincount(drawn.stratum)
    drawn._scored, drawn._rates = np.zeros_like(drawn.sizes), assumed_rates(1)
    drawn._order = order(drawn.stratum, looks.seed)
    return drawn


def simulate(
    before: pa.Table, x: np.ndarray, draw: Callable[[pa.Table, Looks], Drawn], margin: float, times: int, cost: Cost
) -> tuple[list[int], list[int], int, int]:
    """(tokens, items) of each reshuffle, how many decided wrongly, how many never."""
    used, n, wrong, open_ = [], [], 0, 0
    for seed in range(times):
        drawn = draw(before, Looks(allowed=margin, seed=seed))
        while (wave := drawn.next()) is not None:
            drawn.note(wave, x[wave])
        used.append(cost.of(drawn.items))
        n.append(len(drawn.items))
        open_ += drawn.whole
        wrong += ("excluded" in drawn.end and x.mean() <= -margin) or ("proven" in drawn.end and x.mean() > -margin)
    return used, n, wrong, open_


if __name__ == "__main__":
    main()
