"""5-shot MMLU: lm-evaluation-harness's hf backend against ours, on the same model, items, threads and dtype.

Run in an environment with `pip install -e '.[eval]'`, alone on the machine, with MMLU in $TEMPER_DATA/mmlu:
    python -m tests.benchmarks.mmlu_speed [items a subject, default 40] [lm-eval's batch size, default 1]
"""

import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from transformers import AutoModelForCausalLM, AutoTokenizer

from eval_hooks.config import TaskSpec, Variant
from eval_hooks.encode import Encoded, encode
from eval_hooks.scoring.options import score
from eval_hooks.tasks.mmlu import load
from tests.benchmarks.machine import machine
from trainers.fetch import fetch

SUBJECTS = ("anatomy", "abstract_algebra", "miscellaneous", "professional_law", "high_school_european_history",
            "high_school_us_history")  # fmt: skip
LETTERS = (" A", " B", " C", " D")


def main() -> None:
    """Both ways once; lm-eval takes minutes, so its time is not a best of several."""
    each, batch = (int(word) for word in [*sys.argv[1:], *("40", "1")[len(sys.argv) - 1 :]])
    folder = fetch("smollm2-135m-instruct")
    model = AutoModelForCausalLM.from_pretrained(folder, dtype="float32").eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    spec = spec_of("lm_eval", 5, SUBJECTS, each * len(SUBJECTS))
    items = list(encode(load(spec), spec, tokenizer, 8192, {}))
    print(f"MMLU, 5 shots, {len(items)} items of {len(SUBJECTS)} subjects, SmolLM2-135M fp32, {machine()}")

    ours, tokens, mine = timed(model, lambda: [s.logp for s in score(model, items)])
    print(
        f"  ours     {mine:7.1f} s, {tokens:,} tokens run, {tokens / mine:.0f} tokens/s; {unique(items):,} are unique"
    )
    theirs, tokens, other = timed(model, lambda: lm_eval(model, tokenizer, items, batch))
    print(f"  lm-eval  {other:7.1f} s, {tokens:,} tokens run, {tokens / other:.0f} tokens/s, batch size {batch}")

    best = [max(range(4), key=row.__getitem__) for row in (*ours, *theirs)]
    same = sum(a == b for a, b in zip(best[: len(items)], best[len(items) :], strict=True))
    far = max(abs(a - b) for x, y in zip(ours, theirs, strict=True) for a, b in zip(x, y, strict=True))
    print(
        f"  {other / mine:.1f}x as fast; predictions alike {same} of {len(items)}, log-probabilities within {far:.1e}"
    )


def spec_of(variant: Variant, shots: int, subjects: tuple[str, ...] = (), limit: int | None = None) -> TaskSpec:
    """MMLU as it lies in the shared data."""
    data = Path(os.environ.get("TEMPER_DATA") or Path(__file__).parents[3] / "shared" / "data")
    return TaskSpec(task="mmlu", variant=variant, shots=shots, path=str(data / "mmlu"), subjects=subjects, limit=limit)


def timed(model: Any, run: Callable[[], Sequence[Sequence[float]]]) -> tuple[Sequence[Sequence[float]], int, float]:
    """(result, tokens that went through the model, seconds)."""
    counted: list[int] = []
    hook = model.register_forward_pre_hook(
        lambda module, args, kwargs: counted.append((args[0] if args else kwargs["input_ids"]).numel()),
        with_kwargs=True,
    )
    begin = time.perf_counter()
    found = run()
    seconds = time.perf_counter() - begin
    hook.remove()
    return found, sum(counted), seconds


def lm_eval(model: Any, tokenizer: Any, items: Sequence[Encoded], batch: int) -> list[list[float]]:
    """Its backend on the same prompts: as many requests as options, which it groups by context itself."""
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    harness = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=batch, max_length=8192)
    requests = [
        Instance(request_type="loglikelihood", doc={}, arguments=(item.prompt, letter), idx=i)
        for item in items
        for i, letter in enumerate(LETTERS)
    ]
    found = [logp for logp, _ in harness.loglikelihood(requests)]
    return [found[i : i + 4] for i in range(0, len(found), 4)]


def unique(items: Sequence[Encoded]) -> int:
    """Tokens with different tokens before them: no way of sharing runs fewer."""
    places: dict[tuple[int, int], int] = {}
    for item in items:
        for branch in item.branches:
            place = 0
            for token in [*item.shared, *branch[:-1]]:
                place = places.setdefault((place, token), len(places) + 1)
    return len(places)


if __name__ == "__main__":
    main()
