"""Options riding on one pass over their question, against each option as a row of its own: SmolLM2, pocket bank.

Run: python -m tests.benchmarks.scoring
"""

import time

from transformers import AutoModelForCausalLM, AutoTokenizer

from eval_hooks.config import TaskSpec
from eval_hooks.encode import encode
from eval_hooks.forward import batches, scoring_mode
from eval_hooks.scoring.options import scores_of
from eval_hooks.scoring.pass_size import SMALLEST
from eval_hooks.tasks.pocket import load
from eval_hooks.trees import one_by_one, together
from tests.benchmarks.machine import machine
from trainers.fetch import fetch

CASES = (("olmes_cf", 0), ("lm_eval", 0), ("lm_eval", 5))


def main() -> None:
    """Time both ways on the same 57 items, twice each; the better time of each counts."""
    folder = fetch("smollm2-135m-instruct")
    model = AutoModelForCausalLM.from_pretrained(folder, dtype="float32").eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    print(f"scoring 57 pocket items, {machine()}")
    for variant, shots in CASES:
        spec = TaskSpec(task="pocket", variant=variant, shots=shots, limit=57)
        items = list(encode(load(spec), spec, tokenizer, 8192, {}))
        best = {}
        for name, way in (("shared", together), ("alone", one_by_one)) * 2:
            begin = time.perf_counter()
            with scoring_mode(model):
                for batch in batches([item.tokens for item in items], SMALLEST.tokens):
                    [scores_of(texts) for texts in way(model, [items[i] for i in batch])]
            best[name] = min(best.get(name, 1e9), time.perf_counter() - begin)
        ratio = best["alone"] / best["shared"]
        print(
            f"  {variant}, {shots} shots: shared {best['shared']:.2f} s, alone {best['alone']:.2f} s, {ratio:.2f} times faster"
        )


if __name__ == "__main__":
    main()
