"""Per-item tables for tests, made from what matters in them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from eval_hooks.table import choice_table, generate_table


def choices(logp: Sequence[Sequence[float]], gold: Sequence[int], subject: Sequence[str] | None = None) -> pa.Table:
    """A letter table: log-probabilities (n, K), golds (n,)."""
    rows = [
        {
            "task": "t",
            "item_id": str(i),
            "subject": subject[i] if subject else "s",
            "variant": "lm_eval",
            "shots": 5,
            "gold": g,
            "logp": list(lp),
            "chars": [1] * len(lp),
            "letter_mass": 0.9,
            "prompt_tokens": 10,
        }
        for i, (lp, g) in enumerate(zip(logp, gold, strict=True))
    ]
    return choice_table(rows)


def random_choices(n: int, seed: int = 0, skill: float = 1.0) -> pa.Table:
    """N four-option items in three subjects; the right option's logit is raised by `skill` on average."""
    rng = np.random.default_rng(seed)
    gold = rng.integers(0, 4, n)
    logits = rng.normal(size=(n, 4)) * 1.5
    logits[np.arange(n), gold] += skill
    return choices(logits.tolist(), gold.tolist(), [f"s{i % 3}" for i in range(n)])


def right_or_wrong(flags: Sequence[Any]) -> pa.Table:
    """A choice table of two options whose predictions are right where the flag is true."""
    return choices([[0.0, -1.0] if flag else [-1.0, 0.0] for flag in flags], [0] * len(flags))


def answers(outputs: Sequence[str], golds: Sequence[str]) -> pa.Table:
    """A generative table under exact comparison."""
    rows = [
        {"task": "t", "item_id": str(i), "prompt": "p", "output": o, "gold": g, "correct": o == g, "reason": "",
         "n_tokens": 3, "hit_limit": i % 2 == 0}
        for i, (o, g) in enumerate(zip(outputs, golds, strict=True))
    ]  # fmt: skip
    return generate_table(rows)
